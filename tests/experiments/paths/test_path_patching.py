"""What `path_patch` takes and gives: senders together and alone, positions, pairs, and mistakes."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import small_context
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    NeuronExplainerError,
    NodeNameError,
    PromptError,
    StoppedError,
    UnknownNameError,
)
from neuron_explainer.experiments.paths.running import PathRun
from neuron_explainer.experiments.paths.senders import Sender
from neuron_explainer.models.watching import watched_passes

CLEAN, CORRUPTED = [3, 7, 11, 4, 9, 2, 31, 5], [3, 7, 40, 4, 9, 2, 17, 5]
ANSWERS = (12, 25)


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-4, abs=2e-5)


@pytest.fixture(scope="module")
def small() -> ne.StandardModelContext:
    return small_context("gemma2")


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def swept(small: ne.StandardModelContext) -> ne.PathPatching:
    return ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", ["L2H1/q", "L1MLP"])


def test_senders_in_one_batch_equal_each_by_itself(small: ne.StandardModelContext, swept: ne.PathPatching) -> None:
    table = swept.to_dataframe().set_index("name")
    assert list(table.index) == [f"L{layer}H{head}" for layer in range(2) for head in range(4)]  # those before L2H1
    for name in table.index:
        alone = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, name, ["L2H1/q", "L1MLP"])
        assert alone.to_dataframe()["value"][0] == close(table["value"][name])
    assert ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, ["L1H*"], ["L2H1/q", "L1MLP"]).values[0] == close(
        table["value"][4:]
    )


def test_receivers_before_a_sender_hear_nothing_of_it(small: ne.StandardModelContext) -> None:
    both = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, ["L1H2", "L1MLP"], ["L0MLP", "L1H0/q", "L2H1/q"])
    later = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, ["L1H2", "L1MLP"], "L2H1/q")
    assert both.values == close(later.values)
    assert np.abs(later.effects).min() > 1e-5


def test_scores_are_0_for_the_corrupted_run_and_1_for_the_clean_one(swept: ne.PathPatching) -> None:
    table, whole = swept.to_dataframe(), swept.clean_value - swept.corrupted_value
    assert table["score"].to_numpy() == pytest.approx((table["value"] - swept.corrupted_value) / whole)
    assert table["effect"].to_numpy() == pytest.approx(table["value"] - swept.clean_value)
    strongest = swept.top(3)["effect"].abs().tolist()
    assert strongest == sorted(table["effect"].abs(), reverse=True)[:3]
    assert swept.top(3)["name"].tolist() != table["name"].tolist()[:3]


def test_everything_sent_to_the_logits_is_the_other_run(small: ne.StandardModelContext) -> None:
    """All writes and the embedding sent together, with all else frozen, change the one run into the other."""
    everything = ["EMB", *(f"L{layer}{part}" for layer in range(3) for part in ("ATTN", "MLP"))]
    for direction, score in (("noise", 0.0), ("denoise", 1.0)):
        result = ne.path_patch(
            small, CLEAN, CORRUPTED, ANSWERS, [everything], freeze="heads+mlps", direction=direction
        )  # fmt: skip
        assert result.scores[0, 0] == pytest.approx(score, abs=1e-3)
        assert result.values[0, 0] == close((result.corrupted_value, result.clean_value)[int(score)])


def test_by_position_equals_tokens_by_name(small: ne.StandardModelContext) -> None:
    result = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, ["L0H1", "L0H2"], "L2H1", by="position")
    table = result.to_dataframe()
    assert table["name"][9] == "L0H2@1"
    assert table["position"].tolist() == [*range(8)] * 2
    assert table["token"].tolist() == [f"t{token}" for token in CLEAN] * 2
    named = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, ["L0H2@t", "L0H2@-2"][1:], "L2H1").to_dataframe()
    assert named["name"][0] == "L0H2@6"
    assert named["value"][0] == close(table["value"][14])
    assert (table["effect"].abs() > 1e-6).sum() > 6
    assert table["effect"][:2].abs().max() == 0  # before the first token that differs
    assert result.figure().data[0].z.shape == (2, 8)


def test_a_function_of_all_logits_is_the_metric(small: ne.StandardModelContext) -> None:
    def spread(logits: torch.Tensor) -> torch.Tensor:
        return (logits[:, 12] * torch.arange(len(logits))).sum()

    whole = ne.path_patch(small, CLEAN, CORRUPTED, spread, "L1H2", "L2H1/v")
    terms = [
        ne.path_patch(
            small, CLEAN, CORRUPTED, lambda logits, at=at: logits[0, 12] * at, "L1H2", "L2H1/v", positions=at
        ).values[0, 0]
        for at in (6, 7)
    ]
    rest = ne.path_patch(
        small, CLEAN, CORRUPTED, lambda logits: (logits[:, 12] * torch.arange(2, 6)).sum(), "L1H2", "L2H1/v",
        positions=[2, 3, 4, 5],
    )  # fmt: skip
    first = float(small.get_or_create_model()(torch.tensor([CLEAN]))[0, 1, 12])  # the prompts are the same so far
    assert whole.values[0, 0] == pytest.approx(sum(terms) + rest.values[0, 0] + first, rel=1e-4)


def test_what_patching_found_is_handed_on(small: ne.StandardModelContext) -> None:
    found = ne.patch(small, CLEAN, CORRUPTED, ANSWERS, at="heads")
    table = found.to_dataframe().query("layer == 0")
    by_name = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, list(table["name"]), "logits").to_dataframe()
    by_table = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, table, "logits").to_dataframe()
    by_row = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, table.iloc[0], "logits").to_dataframe()
    assert by_table["name"].tolist() == list(table["name"])
    assert by_table.equals(by_name)
    assert by_row["value"][0] == pytest.approx(by_name["value"][0])
    paths = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", "logits").top(2)
    strongest = paths.query("layer > 0").iloc[0]
    assert ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "EMB", strongest).receivers == strongest["name"]
    why = ne.attribute(small, CLEAN, *ANSWERS)
    assert why.ablate(found.top(1)).value == why.ablate(found.top(1)["name"].iloc[0]).value


def test_bfloat16_is_near_float32() -> None:
    values = [
        ne.path_patch(small_context("llama", dtype=dtype), CLEAN, CORRUPTED, ANSWERS, "heads", "L2H1").values
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert np.abs(values[0] - values[1]).max() < 0.1 * max(1.0, np.abs(values[0]).max())


def test_pairs_give_means_with_their_spread(tiny: ne.StandardModelContext) -> None:
    pairs = ne.prompt_pairs("agreement", 3, model=tiny)
    result = ne.path_patch(tiny, iter(pairs), senders="heads", receivers="L3H2/k")
    alone = [
        ne.path_patch(tiny, pair.clean, pair.corrupted, (pair.target, pair.distractor), "heads", "L3H2/k")
        for pair in pairs
    ]
    table, tables = result.to_dataframe(), [each.to_dataframe() for each in alone]
    for column in ("value", "score"):
        numbers = np.array([each[column] for each in tables])
        assert table[column].to_numpy() == pytest.approx(numbers.mean(0), rel=1e-4)
        assert table[f"{column}_std"].to_numpy() == pytest.approx(numbers.std(0, ddof=1), rel=1e-3)
    assert set(table["n"]) == {3}
    assert [each.values[0] for each in result.pairs] == [pytest.approx(each.values[0], rel=1e-4) for each in alone]
    one = ne.path_patch(tiny, pairs[1], senders="heads", receivers="L3H2/k")
    assert one.values == pytest.approx(alone[1].values, rel=1e-4)
    page = result._repr_html_()
    assert "means of 3 pairs" in page
    assert "logit of the target minus that of the distractor" in page or len({each.target for each in pairs}) == 1


def test_parts_of_heads_are_named_in_several_ways(small: ne.StandardModelContext) -> None:
    def values(receivers: object) -> object:
        return close(ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", receivers).values)

    assert ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", ("L2H1", "q")).values == values("L2H1/q")
    assert ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", "L2H1/qk").values == values(["L2H1/q", "L2H1/k"])
    whole = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", "L2H1")
    assert whole.values == values([("L2H1", "qk"), ("L2H1", "v")])
    assert whole.values != values("L2H1/qk")


@pytest.mark.parametrize(
    ("senders", "receivers", "options", "error", "said"),
    [
        ("L2H0", "L2H1/q", {}, InvalidRequestError, "L2H0 does not come before any receiver"),
        ("resid", "L2H1/q", {}, NodeNameError, "'resid' is not a sender. Choose one of: .*'heads' or 'mlps'"),
        ("heads", "logit", {}, NodeNameError, "'logit' is not a receiver. Choose one of: .*'logits' alone"),
        ("L1MLP", "L1MLP", {}, InvalidRequestError, "does not come before"),
        ("heads", "L0H1", {}, InvalidRequestError, "No layer comes before the receivers"),
        ("L1H9", "L2H1", {}, InvalidRequestError, "Layer 1 has no head 9"),
        ("L9H1", "L2H1", {}, InvalidRequestError, "no layer 9"),
        ("L1H1/q", "L2H1", {}, InvalidRequestError, "L1H1/q cannot send"),
        ("L1RESID", "L2H1", {}, InvalidRequestError, "cannot send"),
        ([], "L2H1", {}, InvalidRequestError, "Give nodes, such as L3H2"),
        ("heads", [], {}, InvalidRequestError, "Give L9H6/q"),
        ("heads", "EMB", {}, InvalidRequestError, "EMB cannot receive"),
        ("heads", ["logits", "L2H1"], {}, InvalidRequestError, "Give 'logits' alone"),
        ("heads", "L2H7", {}, InvalidRequestError, "Layer 2 has no head 7"),
        ("heads", "L2H1@99", {}, IndexOutOfRangeError, "no token 99"),
        ("L1H0@99", "L2H1", {}, IndexOutOfRangeError, "no token 99"),
        ("no node", "L2H1", {}, NeuronExplainerError, "is not a node's name"),
        (3, "L2H1", {}, NeuronExplainerError, "names no node"),
        ("heads", "L2H1", {"freeze": "mlps"}, UnknownNameError, "Choose one of: heads.mlps, heads"),
        ("heads", "L2H1", {"direction": 3}, UnknownNameError, "direction"),
        ("heads", "L2H1", {"by": "layer"}, UnknownNameError, "sender"),
        ("L1H0@2", "L2H1", {"by": "position"}, InvalidRequestError, "leave the token out"),
        ("heads", "L2H1", {"metric": None}, InvalidRequestError, "metric is missing"),
        ("heads", "L2H1", {"corrupted": None}, InvalidRequestError, "corrupted is missing"),
        ("heads", "L2H1", {"corrupted": CORRUPTED[:-1]}, PromptError, "must have as many"),
        ("heads", "L2H1", {"metric": (12, 12)}, InvalidRequestError, "not told apart"),
    ],
)
def test_mistakes_are_told(
    small: ne.StandardModelContext, senders: object, receivers: object, options: dict[str, Any],
    error: type[Exception], said: str,
) -> None:  # fmt: skip
    arguments: dict[str, Any] = {"corrupted": CORRUPTED, "metric": ANSWERS, **options}
    with pytest.raises(error, match=said):
        ne.path_patch(small, CLEAN, senders=senders, receivers=receivers, **arguments)


def test_pairs_and_prompts_are_not_mixed(tiny: ne.StandardModelContext) -> None:
    pairs = ne.prompt_pairs("agreement", 2, model=tiny)
    with pytest.raises(InvalidRequestError, match="Leave corrupted out"):
        ne.path_patch(tiny, pairs, "a text")
    with pytest.raises(InvalidRequestError, match="Give pairs alone"):
        ne.path_patch(tiny, [pairs[0], "a text"])
    without = SimpleNamespace(clean="a", target=" is", distractor=" are")
    with pytest.raises(InvalidRequestError, match="no corrupted prompt"):
        ne.path_patch(tiny, [without])
    long = ne.PromptPair(f"And {pairs[0].clean}", f"And {pairs[0].corrupted}", " is", " are")
    with pytest.raises(PromptError, match="as many tokens"):
        ne.path_patch(tiny, [pairs[0], long], by="position")


def test_progress_is_told_and_a_stop_leaves_nothing_behind(small: ne.StandardModelContext) -> None:
    told: list[float] = []
    with watched_passes(told.append):
        ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", "L2H1", by="position")
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert len(told) > 6
    stop = threading.Event()
    with watched_passes(lambda fraction: stop.set() if fraction > 0.4 else None, stop), pytest.raises(StoppedError):
        ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "heads", "L2H1")
    model = small.get_or_create_model()
    assert model.active_interventions == []


def test_an_intervention_of_ones_own_takes_part(small: ne.StandardModelContext) -> None:
    model = small.get_or_create_model()
    with model.intervene("resid_delta_mlp", 2, torch.zeros_like):
        without = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "L1H2", "L2H1")
        expected = model(torch.tensor([CLEAN]))[0, -1]
    assert without.clean_value == close(float(expected[12] - expected[25]))
    with_it = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, "L1H2", "L2H1")
    assert abs(without.values[0, 0] - with_it.values[0, 0]) > 1e-4


def test_figures_have_the_effects(small: ne.StandardModelContext, swept: ne.PathPatching) -> None:
    cells = swept.figure().data[0].z
    assert cells.shape == (4, 2)
    assert cells[3, 1] == pytest.approx(swept.effects[0][7])
    bars = ne.path_patch(small, CLEAN, CORRUPTED, ANSWERS, ["EMB", "L1MLP", ["L0H1", "L1H0"]]).figure().data[0]
    assert set(bars.y) == {"EMB", "L1MLP", "L0H1 + L1H0"}
    page = swept._repr_html_()
    assert 'data-ne-node="L1H3"' in page
    assert "Direct paths to L2H1/q, L1MLP" in page
    assert "layer →<br>head ↓" in page
    assert swept.runs[0].corrupted_tokens != swept.tokens
    assert all(f"<bdi>{token}</bdi>" in page for token in (*swept.tokens, *swept.runs[0].corrupted_tokens))
    assert repr(swept).startswith("<PathPatching: 8 senders to L2H1/q, L1MLP, noise")


def test_by_position_the_largest_effect_is_bold() -> None:
    run = PathRun(("a", "b", "c"), ("a", "b", "d"), 1.0, 0.0, (1.1, 0.2, 1.0))
    senders = tuple(Sender((ne.parse_node(f"L0H1@{position}"),)) for position in range(3))
    paths = ne.PathPatching((run,), senders, "L2H1", "a metric", "heads", "noise", by_position=True)
    assert "<b>b</b>" in paths._repr_html_()  # -0.8, and not the +0.1 of a


def test_tokens_stay_text_on_the_page(swept: ne.PathPatching) -> None:
    run = PathRun(tuple(HOSTILE_TOKENS[:8]), tuple(HOSTILE_TOKENS[:8]), 1.0, 0.0, (0.5,) * 8)
    by_position = tuple(Sender((ne.parse_node(f"L0H1@{position}"),)) for position in range(8))
    for senders in (swept.senders, by_position):
        hostile = ne.PathPatching(
            (run,), senders, "L2H1", HOSTILE_TOKENS[1], "heads", "noise", by_position=senders is by_position
        )
        page = hostile._repr_html_()
        for tag in ("<script", "<img", "<iframe", "<svg"):
            assert tag not in page
        assert "<img" not in str(hostile.figure().layout.title.text)
        assert not any("<img" in label for label in hostile.figure().layout.xaxis.ticktext or ())


def test_a_metric_of_many_alternatives_has_a_short_title(small: ne.StandardModelContext) -> None:
    result = ne.path_patch(small, CLEAN, CORRUPTED, (list(range(3, 40)), list(range(41, 60))), "L1H2", "L2H1")
    assert len(result.title) < 170
