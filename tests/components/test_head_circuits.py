"""What heads write and attend to, pair by pair: against whole matrices that the model's own parts give."""

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.collation_models import changeable_context, model_context, transformer_of
from neuron_explainer.components.heads import best_pairs as blocks_of_pairs
from neuron_explainer.components.heads.best_pairs import best_pairs
from neuron_explainer.errors import InvalidRequestError, NotOneTokenError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.nodes import AttnSubNode

FAMILIES = ["gpt2", "llama", "gemma2", "olmo2", "mixtral", "qwen3", "gpt_oss", "falcon_groups", "granite"]
HEAD, LAYER, VOCAB = 3, 1, 61
TOKENS = [5, 9, 30, 60]
TEXT = " ".join(f"w{token}" for token in TOKENS)


def ov_matrix(context: ne.StandardModelContext, head: int) -> torch.Tensor:
    """(source, output): logits per unit of attention, minus their mean; by the block and the read-out."""
    model, block = transformer_of(context), transformer_of(context).blocks[LAYER]
    one = torch.ones(VOCAB, 1, dtype=torch.float64)
    values = block.values(block.attention_norm(model.embedding * context.config.embedding_scale)[:, None])[:, 0]
    alone = torch.zeros_like(values)
    alone[:, head] = values[:, head]
    bias = block.attention.output_bias
    written = block.attention.output(alone[:, None])[:, 0] - (0 if bias is None else bias)
    if block.attention_post_norm is not None:
        written = block.attention_post_norm.without_gain(written, one) * block.attention_post_norm.effective_gain
    written = written * block.residual_multiplier
    normed = model.final_norm.without_gain(written, one) * model.final_norm.effective_gain
    logits = normed @ model.unembedding_weight.T * context.config.logits_scale
    return logits - logits.mean(1, keepdim=True)


def qk_matrix(context: ne.StandardModelContext, head: int, distance: int) -> torch.Tensor:
    """(query, key): the attention logit of two tokens at those places, by the layer's own arithmetic."""
    model, block = transformer_of(context), transformer_of(context).blocks[LAYER]
    normed = block.attention_norm(model.embedding * context.config.embedding_scale)
    found = torch.zeros(VOCAB, VOCAB, dtype=torch.float64)
    for token in range(VOCAB):
        # One key at place 0, then the query at `distance`: what lies between does not matter.
        prompts = torch.zeros(VOCAB, distance + 1, normed.shape[1], dtype=torch.float64)
        prompts[:, distance] = normed
        prompts[:, 0] = normed[token]
        logits = block.qk_logits(block.queries(prompts), block.keys(prompts))
        found[:, token] = logits[:, distance, 0, head]
    return found


def as_matrix(table, rows, columns) -> np.ndarray:
    made = np.full((VOCAB, VOCAB), np.nan)
    for row, column, value in zip(table[rows], table[columns], table["value"], strict=True):
        made[row, column] = value
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_head_writes_is_its_part_of_the_logits(family):
    context = model_context(family)
    table = ne.component(context, f"L{LAYER}H{HEAD}").writes(VOCAB * VOCAB)
    assert len(table) == VOCAB * VOCAB
    expected = ov_matrix(context, HEAD)
    np.testing.assert_allclose(as_matrix(table, "source_id", "token_id"), expected, rtol=1e-8, atol=1e-9)
    assert table["value"].is_monotonic_decreasing
    assert table["source"].iloc[0] == f"w{table['source_id'].iloc[0]}"
    few = ne.component(context, f"L{LAYER}H{HEAD}").writes(4)
    flat = np.sort(expected.numpy().flatten())
    np.testing.assert_allclose(few["value"], [*flat[::-1][:4], *flat[:4][::-1]], rtol=1e-8)


@pytest.mark.parametrize("distance", [1, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_head_attends_to_is_the_layer_s_attention_logit(family, distance):
    context = model_context(family)
    node = ne.component(context, f"L{LAYER}H{HEAD}")
    if family == "gpt2" and distance != 1:  # its positions are learned
        with pytest.raises(InvalidRequestError, match="distance"):
            node.reads(distance=distance)
        return
    table = node.reads(VOCAB * VOCAB, distance=distance)
    expected = qk_matrix(context, HEAD, distance)
    np.testing.assert_allclose(as_matrix(table, "query_id", "key_id"), expected, rtol=1e-7, atol=1e-8)
    assert table.attrs["distance"] == (None if family == "gpt2" else distance)


def test_the_logit_of_a_pair_is_that_of_a_prompt_of_the_two():
    """In the first layer, where the embedding is the residual stream."""
    context = model_context("llama")
    table = ne.component(context, "L0H2").reads(VOCAB * VOCAB)
    recorded = ne.derive([7, 33], "attn_qk_logits", context).activations("attn_qk_logits")[0]
    assert as_matrix(table, "query_id", "key_id")[33, 7] == pytest.approx(float(recorded[1, 0, 2]))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_half_precision_is_computed_in_float32(family):
    half = StandardModelContext(
        "half", transformer_of(changeable_context(family, torch.float32)).bfloat16(), model_context().tokenizer
    )
    rounded = StandardModelContext(
        "rounded", transformer_of(changeable_context(family, torch.float32)).bfloat16().float(), half.tokenizer
    )
    one, other = (ne.component(each, f"L{LAYER}H{HEAD}") for each in (half, rounded))
    found, expected = (as_matrix(each.writes(VOCAB * VOCAB), "source_id", "token_id") for each in (one, other))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Queries and keys are rounded as the model rounds them.
    found, expected = (as_matrix(each.reads(VOCAB * VOCAB), "query_id", "key_id") for each in (one, other))
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    scores = [ne.head_scores(each, ["w3 w4 w5 w3 w4"], progress=False) for each in (half, rounded)]
    np.testing.assert_allclose(scores[0]["previous"], scores[1]["previous"], atol=0.05)
    np.testing.assert_allclose(scores[0]["copying"], scores[1]["copying"], atol=1e-4)


def test_tokens_are_a_text_s_a_number_or_single_ones():
    context = model_context("llama")
    node = ne.component(context, f"L{LAYER}H{HEAD}")
    whole = as_matrix(node.writes(10**6, tokens="all"), "source_id", "token_id")
    for given, ids, words in (
        (f"{TEXT} w5 w9", TOKENS, "the 4 different tokens of the reference text"),
        (["w5", "w9", "w30", "w60", "w5"], TOKENS, "the 4 tokens given"),
        (7, list(range(7)), "the first 7 tokens of the vocabulary"),
        (None, list(range(VOCAB)), "all 61 tokens of the vocabulary"),
    ):
        written = node.writes(10**6, tokens=given)
        assert written.attrs["tokens"] == words
        assert set(written["source_id"]) == set(ids)
        assert set(written["token_id"]) == set(range(VOCAB))
        np.testing.assert_allclose(as_matrix(written, "source_id", "token_id")[ids], whole[ids], rtol=1e-9)
        read = node.reads(10**6, tokens=given)
        assert set(read["query_id"]) == set(read["key_id"]) == set(ids)


def test_by_default_the_first_4096_tokens_are_looked_at():
    table = ne.component(ne.load_model("tiny", device="cpu"), "L1H2").writes(2)
    assert table.attrs["tokens"] == "all 2,048 tokens of the vocabulary"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tokens": ""}, InvalidRequestError, "has no tokens"),
        ({"tokens": 0}, InvalidRequestError, "tokens"),
        ({"tokens": [3]}, InvalidRequestError, "tokens holds 3"),
        ({"tokens": 2.5}, InvalidRequestError, "Give a reference text"),
        ({"tokens": ["w1 w2"]}, NotOneTokenError, "not one token"),
        ({"distance": -1}, InvalidRequestError, "distance"),
        ({"distance": 64}, InvalidRequestError, "attends to at most 63 tokens back"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(options, error, message):
    node = ne.component(model_context("llama"), "L1H3")
    with pytest.raises(error, match=message):
        node.reads(3, **options)


def test_a_distance_beyond_the_window_is_refused():
    context = model_context("mistral")
    window = context.config.sliding_window_by_layer[1] or 0
    node = ne.component(context, "L1H3")
    assert len(node.reads(3, distance=window - 1)) == 6
    with pytest.raises(InvalidRequestError, match=f"attends to at most {window - 1} tokens back"):
        node.reads(3, distance=window)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_blocks_of_rows_give_what_the_whole_matrix_gives(monkeypatch, n):
    matrix = torch.randn(37, 11, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    whole = best_pairs(lambda rows: matrix[rows], 37, 11, n, False)
    monkeypatch.setattr(blocks_of_pairs, "_MOST_ENTRIES", 44)
    assert best_pairs(lambda rows: matrix[rows], 37, 11, n, False) == whole
    flat = np.sort(matrix.numpy().flatten())[::-1]
    assert [value for _, _, value in whole] == [*flat[:n], *flat[-n:]]
    assert all(matrix[row, column] == value for row, column, value in whole)


# Neighbours of heads


def head_matrix(context: ne.StandardModelContext, by: str, layer: int, head: int) -> torch.Tensor:
    """(residual, residual): the map of a head's OV, or the form of its QK, with the gains of norms."""
    block = transformer_of(context).blocks[layer]
    attention, gain = block.attention, block.attention_norm.effective_gain
    centre = torch.eye(context.config.d_model, dtype=torch.float64)
    if context.config.norm_kind == "layer_norm":
        centre -= 1 / context.config.d_model
    gain = torch.diag(gain * torch.ones(context.config.d_model, dtype=torch.float64)) @ centre
    if by == "write":
        post = block.attention_post_norm
        factor = 1.0 if post is None else post.effective_gain[:, None]
        return (factor * attention.output_by_head()[head].T) @ attention.by_head(AttnSubNode.V)[head].T @ gain
    query, key = (attention.by_head(part)[head] for part in (AttnSubNode.Q, AttnSubNode.K))
    if attention.query_norm is not None:
        query, key = query * attention.query_norm.effective_gain, key * attention.key_norm.effective_gain
    return (query.T @ gain).T @ (key.T @ gain)


@pytest.mark.parametrize("by", ["write", "read"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "qwen3", "mixtral"])
def test_heads_have_the_cosines_of_their_matrices(family, by):
    context = model_context(family)
    table = ne.component(context, "L1H2").neighbours(100, by)
    own = head_matrix(context, by, 1, 2)
    expected = {}
    for layer in range(context.n_layers):
        for head in range(context.config.n_heads):
            other = head_matrix(context, by, layer, head)
            expected[f"L{layer}H{head}"] = float((own * other).sum() / own.norm() / other.norm())
    assert expected.pop("L1H2") == pytest.approx(1)
    assert dict(zip(table["name"], table["cosine"], strict=True)) == pytest.approx(expected, abs=1e-9)
    assert table["cosine"].is_monotonic_decreasing
