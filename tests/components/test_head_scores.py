"""`ne.head_scores`: planted heads, sums over patterns by plain loops, and eigenvalues of whole circuits."""

import math
import threading
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.collation_models import begun_context, model_context, number_tokenizer, random_texts, transformer_of
from neuron_explainer.errors import InvalidRequestError, StoppedError
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.models.watching import watched_passes

COLUMNS = ["previous", "duplicate", "induction", "self", "first", "entropy", "distance", "distance_spread"]
FAMILIES = ["gpt2", "llama", "gemma2", "gpt_oss", "mixtral", "phi3", "qwen3", "falcon"]


# Planted heads

N_TOKENS, N_PLACES, SHARP = 61, 64, 40.0


def planted_model() -> ne.StandardModelContext:
    """Layer 0: a head on the token before (H0), on equal tokens (H1), on the first token (H2). Layer 1: induction (H2).

    The residual stream has the token, the place, and what H0 wrote: the token before.
    """
    size = 2 * N_TOKENS + N_PLACES
    config = TransformerConfig(
        model_type="gpt2",
        n_layers=2,
        n_heads=3,
        n_key_value_heads=3,
        d_model=size,
        d_head=64,
        d_mlp=4,
        vocab_size=N_TOKENS,
        max_context_length=N_PLACES,
        norm_kind="rms_norm",
        norm_epsilon=1e-5,
        activation_function="relu",
        input_norms=False,
        learned_positions=True,
        tied_unembedding=True,
    )
    model: Any = Transformer.with_random_weights(config, device="cpu", dtype="float64")
    for name, parameter in model.named_parameters():
        if not name.endswith("gain"):
            parameter.zero_()
    token, place, before = slice(0, N_TOKENS), slice(N_TOKENS, N_TOKENS + N_PLACES), slice(N_TOKENS + N_PLACES, size)
    model.embedding[:, token] = torch.eye(N_TOKENS, dtype=torch.float64)
    model.position_embedding[:, place] = torch.eye(N_PLACES, dtype=torch.float64)
    heads = [slice(64 * head, 64 * head + 64) for head in range(3)]

    def read(weight: torch.Tensor, head: int, what: slice, n: int, shift: int = 0) -> None:
        part = torch.zeros(64, what.stop - what.start, dtype=torch.float64)
        part[:n, :n] = torch.eye(n, dtype=torch.float64).roll(shift, 0) * SHARP
        weight[heads[head], what] = part

    first, second = (block.attention for block in model.blocks)
    read(first.query_weight, 0, place, N_PLACES)
    read(first.key_weight, 0, place, N_PLACES, shift=1)  # the key of place j is that of the query of place j + 1
    read(first.value_weight, 0, token, N_TOKENS)
    first.output_weight[before, heads[0]] = torch.eye(64, dtype=torch.float64)[:N_TOKENS] / SHARP
    read(first.query_weight, 1, token, N_TOKENS)
    read(first.key_weight, 1, token, N_TOKENS)
    first.query_weight[heads[2].start, place] = SHARP
    first.key_weight[heads[2].start, place.start] = SHARP
    read(second.query_weight, 2, token, N_TOKENS)
    read(second.key_weight, 2, before, N_TOKENS)
    return ne.StandardModelContext("planted", model, number_tokenizer(), end_token_ids=[1])


def test_planted_heads_rank_first():
    scores: Any = ne.head_scores(planted_model(), n_sequences=5, length=25, progress=False).set_index("name")
    for column, head, least in (
        ("previous", "L0H0", 0.99),
        ("duplicate", "L0H1", 0.49),  # the other half goes to the token itself
        ("first", "L0H2", 0.99),
        ("induction", "L1H2", 0.95),
    ):
        assert scores[column].idxmax() == head
        assert scores.loc[head, column] > least
        assert scores[column].drop(head).max() < 0.45
    assert scores.loc["L0H0", "distance"] == pytest.approx(1, abs=1e-3)
    assert scores.loc["L0H0", "distance_spread"] < 0.05
    assert scores.loc["L1H0", "entropy"] == pytest.approx(np.mean(np.log(np.arange(2, 51))))


# Against plain loops over recorded patterns


def by_loops(context: ne.StandardModelContext, sequences: list[list[int]]) -> dict[str, np.ndarray]:
    sums: dict[str, Any] = dict.fromkeys([*COLUMNS, "weight", "distances", "squares"], 0.0)
    n_tokens = n_repeated = 0
    for ids in sequences:
        if len(ids) < 2:
            continue
        store = ne.derive(ids, "attn_qk_probs", context)
        probs = np.stack([store.activations("attn_qk_probs")[layer].numpy() for layer in range(context.n_layers)])
        for i in range(1, len(ids)):
            n_tokens += 1
            row = probs[:, i]  # layers, attended to, heads
            earlier = [j for j in range(i) if ids[j] == ids[i]]
            sums["previous"] = sums["previous"] + row[:, i - 1]
            sums["self"] = sums["self"] + row[:, i]
            sums["first"] = sums["first"] + row[:, 0]
            for j in range(i + 1):
                p = row[:, j]
                with np.errstate(divide="ignore", invalid="ignore"):
                    sums["entropy"] = sums["entropy"] - np.where(p > 0, p * np.log(p), 0)
                sums["weight"] = sums["weight"] + p
                sums["distances"] = sums["distances"] + p * (i - j)
                sums["squares"] = sums["squares"] + p * (i - j) ** 2
            if earlier:
                n_repeated += 1
                sums["duplicate"] = sums["duplicate"] + sum(row[:, j] for j in earlier)
                sums["induction"] = sums["induction"] + sum(row[:, j + 1] for j in earlier if j + 1 < i) + 0 * row[:, 0]
    found = {name: sums[name] / n_tokens for name in ("previous", "self", "first", "entropy")}
    if n_repeated:
        found |= {name: sums[name] / n_repeated for name in ("duplicate", "induction")}
    found["distance"] = sums["distances"] / sums["weight"]
    found["distance_spread"] = np.sqrt(sums["squares"] / sums["weight"] - found["distance"] ** 2)
    return {name: values.flatten() for name, values in found.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_on_ragged_texts_are_those_of_plain_loops(family):
    context = model_context(family)
    texts = [*random_texts(6, seed=3, longest=40), "w5 w5 w5 w7 w5 w7", "w3"]
    scores = ne.head_scores(context, texts, batch_tokens=64, progress=False)
    expected = by_loops(context, [context.encode(text) for text in texts])
    for column in COLUMNS:
        np.testing.assert_allclose(scores[column], expected[column], atol=1e-5, err_msg=column)
    assert scores.attrs["n_tokens"] == sum(len(context.encode(text)) - 1 for text in texts)


def test_batches_and_float32_change_nothing_that_matters():
    texts = random_texts(8, seed=4, longest=40)
    wide = ne.head_scores(model_context("llama"), texts, progress=False)
    for dtype, size in ((torch.float64, 16), (torch.float32, 4096)):
        other = ne.head_scores(model_context("llama", dtype), texts, batch_tokens=size, progress=False)
        np.testing.assert_allclose(other[COLUMNS], wide[COLUMNS], atol=1e-5)


def test_long_texts_are_cut_and_the_beginning_token_begins_each_part():
    context = begun_context()
    text = " ".join(f"w{10 + number % 40}" for number in range(50))
    scores = ne.head_scores(context, [text], context_length=21, progress=False)
    ids = context.encode(text, add_special_tokens=False)
    expected = by_loops(context, [[9, *ids[start : start + 20]] for start in (0, 20, 40)])
    np.testing.assert_allclose(scores["first"], expected["first"], atol=1e-5)
    assert scores.attrs["n_tokens"] == 50
    without = ne.head_scores(context, [text], context_length=21, prepend_bos=False, progress=False)
    expected = by_loops(context, [ids[start : start + 21] for start in (0, 21, 42)])
    np.testing.assert_allclose(without["first"], expected["first"], atol=1e-5)


def test_random_sequences_repeat_without_special_tokens():
    context = model_context("llama")
    one = ne.head_scores(context, n_sequences=3, length=20, seed=5, progress=False)
    assert one.attrs["n_tokens"] == 3 * 39
    assert one.attrs["n_repeated"] == 3 * 20
    assert one.equals(ne.head_scores(context, n_sequences=3, length=20, seed=5, progress=False))
    assert not one.equals(ne.head_scores(context, n_sequences=3, length=20, seed=6, progress=False))


def test_texts_are_read_when_their_turn_comes():
    context, read = model_context("gpt2"), []

    def texts():
        for text in random_texts(200, seed=1, longest=30):
            read.append(text)
            yield text

    scores = ne.head_scores(context, texts(), max_tokens=100, batch_tokens=32, progress=False)
    assert scores.attrs["n_tokens"] <= 100
    assert len(read) < 60


def test_without_repeated_tokens_induction_is_unknown():
    scores: Any = ne.head_scores(model_context("gpt2"), ["w1 w2 w3"], progress=False)
    assert scores[["duplicate", "induction"]].isna().all().all()
    assert scores["previous"].notna().all()
    assert "induction" not in scores._repr_html_().split("<table", 2)[1]


def test_it_can_be_stopped():
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError), watched_passes(stop=stop):
        ne.head_scores(model_context("gpt2"), length=20, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 40}, "reads at most 64"),
        ({"length": 1}, "length"),
        ({"n_sequences": 0}, "n_sequences"),
        ({"texts": ["w1", "w2"]}, "no sequence of two tokens"),
        ({"texts": ["w1 w2"], "context_length": 65}, "reads at most 64"),
        ({"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(InvalidRequestError, match=message):
        ne.head_scores(model_context("gpt2"), progress=False, **options)


# Copying


@pytest.mark.parametrize("family", FAMILIES)
def test_copying_scores_are_those_of_the_whole_circuit(family):
    """The eigenvalues of the matrix over the vocabulary, made through the model's own parts."""
    context = model_context(family)
    model = transformer_of(context)
    scores = ne.head_scores(context, n_sequences=1, length=8, progress=False).set_index("name")
    embedded = model.embedding * context.config.embedding_scale
    one = torch.ones(61, 1, dtype=torch.float64)
    for layer, block in enumerate(model.blocks):
        values = block.values(block.attention_norm(embedded)[:, None])[:, 0]
        for head in range(context.config.n_heads):
            alone = torch.zeros_like(values)
            alone[:, head] = values[:, head]
            bias = block.attention.output_bias
            written = block.attention.output(alone[:, None])[:, 0] - (0 if bias is None else bias)
            if block.attention_post_norm is not None:
                written = block.attention_post_norm.apply_scale(written, one)
            normed = model.final_norm.apply_scale(written, one)
            circuit = normed @ model.unembedding_weight.T
            circuit = circuit - circuit.mean(1, keepdim=True)
            eigenvalues = torch.linalg.eigvals(circuit)
            expected = float(eigenvalues.real.sum() / eigenvalues.abs().sum())
            assert scores.loc[f"L{layer}H{head}", "copying"] == pytest.approx(expected, abs=1e-6)
            node = ne.component(context, f"L{layer}H{head}")
            assert node.copying_score == scores.loc[f"L{layer}H{head}", "copying"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_that_copies_scores_1_and_one_that_suppresses_minus_1(sign):
    context = planted_model()
    attention = transformer_of(context).blocks[1].attention
    attention.value_weight[:61, :61] = torch.eye(61, dtype=torch.float64)
    attention.output_weight[:61, :61] = torch.eye(61, dtype=torch.float64) * sign
    assert ne.component(context, "L1H0").copying_score == pytest.approx(sign)
    assert math.isnan(ne.component(context, "L1H1").copying_score)


def test_only_heads_copy():
    with pytest.raises(InvalidRequestError, match="L1N3 is an MLP neuron"):
        _ = ne.component(model_context("gpt2"), "L1N3").copying_score


# A real model


def test_smollm2_has_the_heads_that_people_know(smollm2):
    scores: Any = ne.head_scores(smollm2, n_sequences=2, length=40, progress=False).set_index("name")
    assert len(scores) == 270
    assert scores["previous"].max() > 0.8
    assert scores["induction"].max() > 0.8
    assert scores["duplicate"].max() > 0.5
    assert scores["copying"].between(-1, 1).all()
    layer_of_best = {name: int(scores.loc[scores[name].idxmax(), "layer"]) for name in ("previous", "induction")}
    assert layer_of_best["previous"] < layer_of_best["induction"]
