"""`ne.attention`: its patterns are the model's, and its table has the strongest pairs."""

from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.errors import InvalidRequestError, NodeNameError, NotEnoughMemoryError, PromptError
from neuron_explainer.experiments.attention_patterns import attention as asking

PROMPT = "And the LORD said unto Moses"
IDS = [0, 7, 23, 7, 41, 5, 23, 7, 60, 12, 3, 9]


@pytest.fixture(scope="module")
def model() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def _by_hand(model: ne.StandardModelContext, ids: list[int]) -> list[torch.Tensor]:
    """The patterns, (heads, tokens, to), from recorded queries and keys, one pair at a time where it matters."""
    transformer = model.get_or_create_model()
    with transformer.record(["attn.q", "attn.k"]) as recording:
        transformer(torch.tensor([ids]))
    found = []
    for layer, block in enumerate(transformer.blocks):
        queries, keys = (recording[place, layer][0].double() for place in ("attn.q", "attn.k"))
        logits = torch.einsum("ihc,jhc->hij", queries, keys)
        cap, window, sinks = block.attention.softcap, block.attention.window, block.attention.sinks
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        weights = torch.zeros_like(logits)
        for row in range(len(ids)):
            start = 0 if window is None else max(0, row + 1 - window)
            exponentials = logits[:, row, start : row + 1].exp()
            total = exponentials.sum(-1) + (0.0 if sinks is None else sinks.double().exp())
            weights[:, row, start : row + 1] = exponentials / total[:, None]
        found.append(weights)
    return found


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_patterns_are_those_of_the_model(name: str) -> None:
    model = small_context(name)
    transformer = model.get_or_create_model()
    found = ne.attention(model, IDS)
    with transformer.record("attn.qk_probs") as recording:
        transformer(torch.tensor([IDS]))
    by_hand = _by_hand(model, IDS)
    assert list(found.by_layer) == list(range(model.n_layers))
    for layer in range(model.n_layers):
        for head in range(model.n_attention_heads):
            pattern = found.pattern(layer, head)
            assert np.array_equal(pattern, recording["attn.qk_probs", layer][0, :, :, head].numpy())
            assert np.allclose(pattern, by_hand[layer][head].numpy(), atol=2e-5)
            assert not pattern[np.triu_indices(len(IDS), 1)].any()
            assert (pattern.sum(1) < 1 + 1e-5).all()


def test_bfloat16_keeps_the_numbers_of_the_model() -> None:
    model = small_context("gemma2", dtype=torch.bfloat16)
    transformer = model.get_or_create_model()
    found = ne.attention(model, IDS)
    with transformer.record("attn.qk_probs") as recording:
        transformer(torch.tensor([IDS]))
    assert found.pattern("L1H2").dtype == np.float32
    assert np.array_equal(found.pattern("L1H2"), recording["attn.qk_probs", 1][0, :, :, 2].float().numpy())
    assert found.to_dataframe(3)["weight"].is_monotonic_decreasing


def _brute_force(found: ne.AttentionPatterns, n: int | None, skip_first: bool) -> list[tuple[str, float]]:
    pairs = [
        (-float(weights[row, column, head]), layer, head, row, column)
        for layer, weights in found.by_layer.items()
        for head in range(weights.shape[-1])
        for row in range(1, len(found.tokens))
        for column in range(int(skip_first), row + 1)
    ]
    return [(f"L{layer}H{head}@{row}<-{column}", -weight) for weight, layer, head, row, column in sorted(pairs)[:n]]


@pytest.mark.parametrize("skip_first", [False, True])
@pytest.mark.parametrize("n", [1, 7, 50, None])
def test_the_table_has_the_strongest_pairs(model: ne.StandardModelContext, n: int | None, skip_first: bool) -> None:
    found = ne.attention(model, PROMPT, skip_first=skip_first)
    table = found.to_dataframe(n)
    assert list(zip(table["name"], table["weight"], strict=True)) == _brute_force(found, n, skip_first)
    for row in table.to_dict("records"):
        position, attended = row["position"], row["attended_position"]
        assert row["name"] == f"L{row['layer']}H{row['head']}@{position}<-{attended}"
        assert (row["token"], row["attended_to"]) == (found.tokens[position], found.tokens[attended])
        assert found.pattern(row["name"])[position, attended] == np.float32(row["weight"])
    other = found.to_dataframe(n, skip_first=not skip_first)
    assert other["name"].tolist() == [name for name, _ in _brute_force(found, n, not skip_first)]


def test_equal_weights_come_in_the_order_of_their_names() -> None:
    weights = torch.full((4, 4), 0.25).tril()[:, :, None].expand(4, 4, 2).contiguous()
    found = ne.AttentionPatterns("m", tuple("abcd"), (0, 1, 2, 3), {2: weights, 5: weights})
    assert found.to_dataframe(4)["name"].tolist() == ["L2H0@1<-0", "L2H0@1<-1", "L2H0@2<-0", "L2H0@2<-1"]
    assert len(found.to_dataframe(None)) == 2 * 2 * 9
    weights[2, 1, 1] = torch.nan
    assert len(found.to_dataframe(None)) == 2 * 2 * 9 - 2


def test_a_layer_or_several(model: ne.StandardModelContext) -> None:
    whole = ne.attention(model, PROMPT)
    for layers, expected in ((2, [2]), ([3, 0], [0, 3]), (range(2), [0, 1])):
        part = ne.attention(model, PROMPT, layers=layers)
        assert list(part.by_layer) == expected
        for layer in expected:
            assert torch.equal(part.by_layer[layer], whole.by_layer[layer])
    assert set(ne.attention(model, PROMPT, layers=2).to_dataframe()["layer"]) == {2}
    assert repr(ne.attention(model, PROMPT, layers=2)) == "AttentionPatterns('tiny', 7 tokens, layer 2, 4 heads)"


def test_prompts_in_every_form(model: ne.StandardModelContext) -> None:
    found = ne.attention("tiny", PROMPT)
    ids = model.to_tokens(PROMPT)
    for prompt in (ids, ids[0].tolist()):
        assert np.array_equal(ne.attention(model, prompt).pattern("L3H1"), found.pattern("L3H1"))
    assert "".join(found.tokens) == PROMPT
    with_beginning = ne.attention(model, PROMPT, prepend_bos=True)
    assert len(with_beginning.tokens) == len(found.tokens) + 1
    one = ne.attention(model, [5])
    assert one.pattern(0, 0).tolist() == [[1.0]]
    assert len(one.to_dataframe()) == 0


def test_interventions_of_a_context_are_in_the_patterns(model: ne.StandardModelContext) -> None:
    transformer = model.get_or_create_model()
    with transformer.intervene("attn.qk_probs", 1, lambda probs: probs * 0.5):
        changed = ne.attention(model, PROMPT)
    plain = ne.attention(model, PROMPT)
    assert np.allclose(changed.pattern("L1H2"), plain.pattern("L1H2") * 0.5)
    assert not np.allclose(changed.pattern("L3H2"), plain.pattern("L3H2"))


def test_a_pattern_is_a_copy(model: ne.StandardModelContext) -> None:
    found = ne.attention(model, PROMPT)
    found.pattern(0, 0)[:] = 7
    assert found.pattern(0, 0).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((9, 0), "Layer 9 was not read. Choose one of: 0–3"),
        ((0, 9), "Layer 0 has no head 9. Choose one of: 0–3"),
        ((0, -1), "no head -1"),
        ((2,), "Give layer and head"),
        (("L9H0",), "Layer 9 was not read"),
        (("L1N2",), "L1N2"),
    ],
)
def test_what_is_not_a_head_is_refused(model: ne.StandardModelContext, arguments: tuple[Any, ...], said: str) -> None:
    found = ne.attention(model, PROMPT)
    for ask in (found.pattern, found.head, found.figure):
        with pytest.raises((InvalidRequestError, NodeNameError, ne.errors.InvalidIndexError), match=said):
            ask(*arguments)


def test_wrong_arguments_are_refused(model: ne.StandardModelContext) -> None:
    with pytest.raises(PromptError):
        ne.attention(model, "")
    mistakes: list[dict[str, Any]] = [{"layers": 4}, {"layers": []}, {"skip_first": "yes"}, {"prepend_bos": 3}]
    for wrong in mistakes:
        with pytest.raises(InvalidRequestError):
            ne.attention(model, PROMPT, **wrong)
    found = ne.attention(model, PROMPT)
    for n in (0, -1, "many"):
        with pytest.raises(InvalidRequestError):
            found.to_dataframe(n)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError):
        found.to_html(skip_first=2)  # type: ignore[arg-type]


def test_patterns_that_do_not_fit_are_refused(model: ne.StandardModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "free_bytes", lambda device: 4 * 4 * 49 * 4 - 1)
    with pytest.raises(NotEnoughMemoryError, match="4 layers over 7 tokens") as raised:
        ne.attention(model, PROMPT)
    assert raised.value.needed == 4 * 4 * 49 * 4
    ne.attention(model, PROMPT, layers=[0, 1])


def test_a_figure_has_the_tokens_and_the_weights(model: ne.StandardModelContext) -> None:
    for skip_first in (False, True):
        found = ne.attention(model, PROMPT, skip_first=skip_first)
        figure = found.figure("L2H3")
        first = int(skip_first)
        expected = found.pattern(2, 3)[first:, first:].astype(float)
        expected[np.triu_indices(len(expected), 1)] = np.nan
        assert np.allclose(np.array(figure.data[0].z, dtype=float), expected, equal_nan=True)
        assert len(figure.layout.xaxis.ticktext) == len(found.tokens) - first
        assert "L2H3" in figure.layout.title.text
    long = ne.AttentionPatterns("m", tuple("t" * 1025), (0,) * 1025, {0: torch.zeros(1025, 1025, 1)})
    with pytest.raises(InvalidRequestError, match="1,024"):
        long.figure(0, 0)
    with pytest.raises(InvalidRequestError, match="first token"):
        ne.attention(model, [5], skip_first=True).figure(0, 0)
