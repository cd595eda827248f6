"""What the logit lens reads, against the model's own read-out and the direct effects of `ne.attribute`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MisconfiguredError,
    NotOneTokenError,
    PromptError,
    UnknownNameError,
)
from neuron_explainer.experiments.lenses import logits_read

PROMPT = [5, 17, 3, 44, 9, 31, 20]
ALL = list(range(61))


def _always(resid: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: resid


def _logits(reading: ne.LensReading) -> torch.Tensor:
    """All logits, (layers, components, positions, vocab), of a reading that was asked about the whole vocabulary."""
    assert reading.asked == tuple(ALL)
    return reading.read.asked_logits


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_after_the_last_layer_it_is_the_models_own_output(name: str) -> None:
    model = small_context(name)
    own = model.get_or_create_model()(torch.tensor([PROMPT]))[0]
    reading = ne.lens(model, PROMPT, tokens=ALL, top=61)
    assert torch.equal(_logits(reading)[-1, 0], own)
    assert torch.equal(reading.read.logits[-1, 0], own.sort(-1, descending=True).values)
    torch.testing.assert_close(reading.read.asked_probabilities[-1, 0], own.softmax(-1), atol=1e-6, rtol=1e-5)
    assert float(reading.read.divergences[-1].max()) < 1e-5


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_a_layer_is_read_as_if_it_were_the_last(name: str) -> None:
    model = small_context(name)
    transformer, tokens = model.get_or_create_model(), torch.tensor([PROMPT])
    last = model.n_layers - 1
    own = transformer(tokens)[0].double().log_softmax(-1)
    reading = ne.lens(model, PROMPT, tokens=ALL)
    for layer in range(last):
        with transformer.record([("resid_post_mlp", layer)]) as recording:
            transformer(tokens, logits_at=None)
        resid = recording["resid_post_mlp", layer]
        with transformer.intervene("resid_post_mlp", last, _always(resid)):
            expected = transformer(tokens)[0]
        torch.testing.assert_close(_logits(reading)[layer, 0], expected, atol=1e-5, rtol=1e-5)
        read = expected.double().log_softmax(-1)
        divergence = (own.exp() * (own - read)).sum(-1)
        torch.testing.assert_close(reading.read.divergences[layer, 0].double(), divergence, atol=2e-5, rtol=1e-4)
        ranks = 1 + (expected[:, None, :] > expected[:, :, None]).sum(-1)
        assert (reading.read.asked_ranks[layer, 0] != ranks).float().mean() < 0.01  # two may be a rounding apart


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_two_tokens_of_a_heads_write_differ_by_its_direct_effect(name: str) -> None:
    model = small_context(name)
    heads = ne.attribute(model, PROMPT, 7, 40).heads(1000)
    effects = {(row.layer, row.component): row.direct_effect for row in heads.itertuples()}
    read = ne.lens(model, PROMPT, of="heads", positions=-1, tokens=[7, 40]).of_tokens
    assert len(effects) == len(read) / 2
    for (layer, head), rows in read.groupby(["layer", "head"]):
        logits = dict(zip(rows.token_id, rows.logit, strict=True))
        assert logits[7] - logits[40] == pytest.approx(effects[layer, head], abs=2e-5, rel=1e-4)


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_writes_of_layers_add_up_to_the_output(name: str) -> None:
    model = small_context(name)
    transformer, tokens = model.get_or_create_model(), torch.tensor([PROMPT])
    writes = sum(_logits(ne.lens(model, PROMPT, of=of, tokens=ALL)).sum((0, 1)) for of in ("attn", "mlp"))
    with transformer.record(["resid_post_embedding", ("resid_post_mlp", model.n_layers - 1)]) as recording:
        transformer(tokens, logits_at=None)
    config, norm = transformer.config, transformer.final_norm
    embedding, final = recording["resid_post_embedding"][0], recording["resid_post_mlp", model.n_layers - 1][0]
    unembedding = transformer.unembedding_weight * config.logits_scale
    of_embedding = (norm.without_gain(embedding, norm.scale(final)) * norm.effective_gain) @ unembedding.T
    whole = (norm.without_gain(final, norm.scale(final)) * norm.effective_gain) @ unembedding.T
    torch.testing.assert_close(writes + of_embedding, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "granite", "cohere", "mixtral"])
def test_in_bfloat16_the_last_layer_is_the_models_own_too(name: str) -> None:
    model = small_context(name, dtype=torch.bfloat16)
    own = model.get_or_create_model()(torch.tensor([PROMPT]))[0]
    reading = ne.lens(model, PROMPT, tokens=ALL)
    assert torch.equal(_logits(reading)[-1, 0], own.float())
    precise = ne.lens(small_context(name), PROMPT, of="heads", tokens=ALL)
    rounded = ne.lens(model, PROMPT, of="heads", tokens=ALL)
    assert float((_logits(rounded) - _logits(precise)).abs().max()) < 0.1 * float(_logits(precise).abs().max())


@pytest.mark.parametrize("of", ["resid", "attn", "heads"])
def test_blocks_of_any_size_read_the_same(monkeypatch: pytest.MonkeyPatch, of: Any) -> None:
    model = small_context("gemma2")
    whole = ne.lens(model, PROMPT, of=of, tokens=ALL)
    sizes = []
    plain = logits_read.tokens_of_logits

    def noted(logits: torch.Tensor, *arguments: Any) -> Any:
        sizes.append(logits.numel())
        return plain(logits, *arguments)

    monkeypatch.setattr(logits_read, "tokens_of_logits", noted)
    monkeypatch.setattr(logits_read, "_LOGITS_AT_ONCE", 3 * 61)
    parts = ne.lens(model, PROMPT, of=of, tokens=ALL)
    assert max(sizes) <= 3 * 61
    for name, expected in vars(whole.read).items():
        if expected.is_floating_point():
            torch.testing.assert_close(vars(parts.read)[name], expected, atol=1e-5, rtol=1e-5)
        else:
            assert (vars(parts.read)[name] == expected).float().mean() > 0.98


@pytest.mark.parametrize("vocab", [61, 640, 2048, 2100])
def test_the_likeliest_tokens_are_those_of_topk(vocab: int) -> None:
    generator = torch.Generator().manual_seed(vocab)
    logits = torch.randperm(6 * vocab, generator=generator).reshape(2, 3, vocab).float()
    logits[0, 0, :10] = -torch.inf
    for top in (1, 5, 40):
        values, ids = logits_read.likeliest(logits, top)
        expected = logits.topk(top, dim=-1)
        assert torch.equal(values, expected.values)
        assert torch.equal(ids, expected.indices)


def test_tables_say_what_is_where() -> None:
    model = small_context("llama")
    reading = ne.lens(model, PROMPT, layers=[2, 0], positions=[-1, 1], top=3, tokens=["t7", 40])
    frame = reading.to_dataframe()
    assert list(frame.columns) == [
        "layer",
        "position",
        "token",
        "rank",
        "top_token",
        "token_id",
        "logit",
        "probability",
    ]
    assert frame[["layer", "position", "rank"]].values.tolist() == [
        [layer, position, rank] for layer in (0, 2) for position in (1, 6) for rank in (1, 2, 3)
    ]
    assert frame.token.tolist()[:4] == ["t17"] * 3 + ["t20"]
    own = model.get_or_create_model()(torch.tensor([PROMPT]))[0, -1]
    last = frame.query("layer == 2 and position == 6")
    assert last.token_id.tolist() == own.topk(3).indices.tolist()
    assert last.top_token.tolist() == [f"t{number}" for number in own.topk(3).indices.tolist()]
    asked = reading.of_tokens.query("layer == 2 and position == 6")
    assert asked.asked_token.tolist() == ["t7", "t40"]
    assert asked["rank"].tolist() == [int((own > own[token]).sum()) + 1 for token in (7, 40)]
    assert asked.probability.tolist() == pytest.approx(own.softmax(-1)[[7, 40]].tolist(), rel=1e-5)
    assert reading.divergence.columns.tolist() == ["layer", "position", "token", "kl"]
    assert len(ne.lens(model, PROMPT).of_tokens) == 0


def test_what_contexts_replace_takes_part() -> None:
    model = small_context("gpt2")
    plain = ne.lens(model, PROMPT, tokens=ALL)
    with model.get_or_create_model().intervene("resid_delta_mlp", 1, torch.zeros_like):
        replaced = ne.lens(model, PROMPT, tokens=ALL)
    assert torch.equal(_logits(plain)[0], _logits(replaced)[0])
    assert not torch.allclose(_logits(plain)[1:], _logits(replaced)[1:])


def test_vectors_are_read_as_states_or_as_writes() -> None:
    model = small_context("gpt2")
    transformer = model.get_or_create_model()
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 32, generator=generator)
    states = ne.lens_of_vector(model, vectors, top=61)
    expected = transformer.unembed(transformer.final_norm(vectors))
    for number, own in enumerate(expected):
        rows = states.query(f"vector == {number}")
        torch.testing.assert_close(
            torch.tensor(rows.logit.tolist()), own.sort(descending=True).values, atol=1e-5, rtol=0
        )
    write = ne.lens_of_vector(model, vectors[0], top=2, scale=2.0, tokens=[3])
    normed = (vectors[0] - vectors[0].mean()) / 2 * transformer.final_norm.effective_gain
    logits = transformer.unembedding_weight @ normed
    assert write.token_id.tolist()[:2] == logits.topk(2).indices.tolist()
    three = write.query("token_id == 3").iloc[0]
    assert three.logit == pytest.approx(float(logits[3]), abs=1e-5)
    assert three["rank"] == int((logits > logits[3]).sum()) + 1
    assert "vector" not in write.columns


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"kind": "tuned"}, UnknownNameError, "logit, jacobian"),
        ({"kind": "jacobian"}, InvalidRequestError, "fit_jacobian_lens"),
        ({"of": "neurons"}, UnknownNameError, "heads, resid, attn, mlp"),
        ({"layers": 3}, IndexOutOfRangeError, "layers: 0–2"),
        ({"layers": []}, InvalidRequestError, "layers"),
        ({"positions": 7}, IndexOutOfRangeError, "from 0 to 6"),
        ({"top": 0}, InvalidRequestError, "top"),
        ({"tokens": "t5 t6"}, NotOneTokenError, "t5 t6"),
        ({"tokens": 61}, InvalidRequestError, "61"),
        ({"kind": ne.JacobianLens({0: torch.eye(8)}, 1)}, MisconfiguredError, "32 channels"),
        ({"kind": ne.JacobianLens({0: torch.eye(32)}, 1), "of": "attn"}, MisconfiguredError, "residual stream"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, dict) else "",
)
def test_what_cannot_be_read_is_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ne.lens(small_context("llama"), PROMPT, **arguments)


def test_odd_prompts_and_vectors_are_refused() -> None:
    model = small_context("llama")
    with pytest.raises(PromptError):
        ne.lens(model, [])
    for vector in (torch.zeros(31), torch.zeros(2, 2, 32), torch.full((32,), torch.nan), torch.zeros(32).long()):
        with pytest.raises(InvalidRequestError):
            ne.lens_of_vector(model, vector)
    with pytest.raises(InvalidRequestError, match="scale"):
        ne.lens_of_vector(model, torch.ones(32), scale=0)
    with pytest.raises(MisconfiguredError, match="which layer"):
        ne.lens_of_vector(model, torch.ones(32), kind=ne.JacobianLens({0: torch.eye(32)}, 1))


@pytest.mark.parametrize("place", ["resid_final_layer_norm_scale", "resid_post_final_layer_norm", "logits"])
def test_a_read_out_that_is_changed_is_refused(place: str) -> None:
    """A lens has a read-out of its own, which such a change would not reach."""
    model = small_context("gpt2")
    transformer = model.get_or_create_model()
    with transformer.intervene(place, None, lambda tensor: tensor * 2):
        transformer(torch.tensor([PROMPT]))
        with pytest.raises(InvalidRequestError, match="final norm and unembedding"):
            ne.lens(model, PROMPT)
    ne.lens(model, PROMPT)


def test_vectors_and_layers_of_them_that_cannot_be_read() -> None:
    tiny, half = ne.load_model("tiny", device="cpu"), small_context("gpt2", dtype=torch.float16)
    layer: Any
    for layer in ([0, 1], {0, 1}, range(2), torch.tensor([0, 1])):
        with pytest.raises(InvalidRequestError, match="one layer"):
            ne.lens_of_vector(tiny, torch.ones(128), kind="jacobian", layer=layer)
    with pytest.raises(InvalidRequestError, match=r"too large for torch\.float16"):
        ne.lens_of_vector(half, torch.full((32,), 1e6))
    with pytest.raises(InvalidRequestError, match=r"too large for torch\.float32"):
        ne.lens_of_vector(tiny, torch.full((128,), 1e300, dtype=torch.float64))


def test_a_token_whose_logit_is_no_number_is_the_last_one() -> None:
    model = small_context("gpt2")
    with model.get_or_create_model().intervene("resid_post_mlp", 1, lambda resid: resid * torch.nan):
        reading = ne.lens(model, PROMPT, tokens=[3])
    ranks = reading.read.asked_ranks[:, 0, :, 0]
    assert (ranks[1:] == 61).all()
    assert (ranks[0] < 61).all()
