"""What a page asks, as a value: its steps, its JSON, and what it refuses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuron_explainer as ne
from neuron_explainer.attribution.exploring.exploration import Change, Exploration, TraceStep
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, UnknownArgumentError

CHAT = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"})
EVERYTHING = Exploration(
    CHAT,
    (" her", (5, 17)),
    (" him",),
    (5, 17, 3),
    (Change("L3H0"), Change("L1N3@2", 0.5, False), Change("L2H1", "mean"), Change("L2H2", "other")),
    (TraceStep("L2H3", "q"), TraceStep("L1H0", "v", "L2H1")),
    True,
    "log_probability",
    (3, -1),
    False,
)


def test_json_has_everything_and_gives_it_back() -> None:
    text = json.dumps(EVERYTHING.to_json())
    again = Exploration.from_json(json.loads(text))
    assert again == EVERYTHING
    assert hash(again) == hash(EVERYTHING)
    assert Exploration.from_json({"prompt": "a"}) == Exploration("a")
    assert len({EVERYTHING, again, Exploration("a"), Exploration("b"), Exploration("a").with_change("L0H0")}) == 4


def test_json_shares_nothing() -> None:
    mapping = EVERYTHING.to_json()
    mapping["prompt"][0]["content"] = "changed"
    mapping["changes"].clear()
    assert EVERYTHING.to_json()["prompt"][0]["content"] == "Hello"
    given_chat = [{"role": "user", "content": "Hello"}]
    asked = Exploration(tuple(given_chat))
    given_chat[0]["content"] = "changed"
    assert asked.to_json()["prompt"][0]["content"] == "Hello"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("prompt", 5, "prompt is 5. Give a text, a list of messages, or token ids."),
        ("prompt", [], "prompt is"),
        ("prompt", [5, "a"], "prompt is"),
        ("prompt", [True], "prompt is"),
        ("prompt", "\ud800", "prompt is .* not valid text"),
        ("prompt", [{"role": "user"}], "prompt: Message 0 has no content"),
        ("prompt", None, "prompt is None"),
        ("other_prompt", {"role": "user"}, "other_prompt is"),
        ("target", " her", "target is ' her'. Give a list."),
        ("target", [5], r"target\[0\] is 5. Give a text, or a list of token ids."),
        ("distractor", [["a"]], r"distractor\[0\] is"),
        ("changes", {"node": "L3H0"}, "changes is"),
        ("changes", ["L3H0"], r"changes\[0\] is 'L3H0'. Give a mapping with the fields of Change"),
        ("changes", [{"node": "L3H0"}, {"value": 3}], r"changes\[1\] has no node"),
        ("changes", [{"node": "L3H0", "value": "other prompt"}], r'changes\[0\]: value is .* Give a number, "mean"'),
        ("changes", [{"node": "L3H0", "value": float("nan")}], r"changes\[0\]: value is nan"),
        ("changes", [{"node": "L3H0", "value": True}], r"changes\[0\]: value is True"),
        ("changes", [{"node": " "}], r"changes\[0\]: node is empty"),
        ("changes", [{"node": "L3H0", "is_on": 1}], r"changes\[0\]: is_on is 1. Give True or False."),
        ("changes", [{"node": "L3H0"}] * 201, "changes has 201 entries. Give at most 200."),
        ("traces", [{"node": 3}], r"traces\[0\]: node must be of type str"),
        ("traces", [{"node": "L3H0", "through": 3}], r"traces\[0\]: through must be of type str"),
        ("is_compared", "no", "is_compared is 'no'. Give True or False."),
        ("metric", 3, "metric must be of type str"),
        ("positions", 3, "positions is 3"),
        ("positions", [1.5], "positions is"),
        ("prepend_bos", "yes", "prepend_bos is 'yes'. Give True or False."),
    ],
)
def test_what_a_field_cannot_be(field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Exploration.from_json({"prompt": "a", field: value})


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownArgumentError, match=r"no argument 'promt'\. Did you mean: prompt"):
        Exploration.from_json({"promt": "a"})
    with pytest.raises(UnknownArgumentError, match=r"Change\(\) has no argument 'vlaue'\. Choose one of: value"):
        Exploration.from_json({"prompt": "a", "changes": [{"node": "L3H0", "vlaue": 3}]})
    with pytest.raises(UnknownArgumentError):
        Exploration.from_json({"prompt": "a", 5: "b"})  # type: ignore[dict-item]
    nothing: tuple[Any, ...] = ([], "prompt", None, 5)
    for mapping in nothing:
        with pytest.raises(InvalidRequestError, match="the state is"):
            Exploration.from_json(mapping)
    with pytest.raises(InvalidRequestError, match="The state has no prompt"):
        Exploration.from_json({"target": ["a"]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(EVERYTHING.to_json())), JSON, max_size=4))
def test_whatever_json_holds_is_read_or_refused(mapping: dict[str, Any]) -> None:
    try:
        asked = Exploration.from_json(mapping)
    except NeuronExplainerError:
        return
    assert Exploration.from_json(json.loads(json.dumps(asked.to_json()))) == asked


def test_constructors_check_too() -> None:
    for make in (
        lambda: Exploration("a", target=" her"),  # type: ignore[arg-type]
        lambda: Exploration("a", changes=("L3H0",)),  # type: ignore[arg-type]
        lambda: Exploration("a", traces=(Change("L3H0"),)),  # type: ignore[arg-type]
        lambda: Change("L3H0", "zero"),
        lambda: TraceStep(""),
    ):
        with pytest.raises(InvalidRequestError):
            make()


def test_steps_give_new_values() -> None:
    asked = Exploration("a b", (" her",), (" him",), "a c", positions=(1,), prepend_bos=True, metric="logit_diff")
    changed = asked.with_change("L3H0").with_change("L2H1@1", "mean").with_change(" L2H2 ", 1)
    assert [(each.node, each.value) for each in changed.changes] == [("L3H0", 0.0), ("L2H1@1", "mean"), ("L2H2", 1.0)]
    assert asked.changes == ()
    assert changed.question == asked
    off = changed.switched(1)
    assert [each.is_on for each in off.changes] == [True, False, True]
    assert off.switched(1) == changed
    assert [each.node for each in off.active_changes] == ["L3H0", "L2H2"]
    assert off.without_change(1).changes == off.active_changes
    again = off.with_change("L2H1@1", 2.0)
    assert again.changes == (*off.active_changes, Change("L2H1@1", 2.0))
    traced = changed.traced("L2H3", "q").traced("L1H0", "v", "L2H3@1")
    assert traced.traces == (TraceStep("L2H3", "q"), TraceStep("L1H0", "v", "L2H3@1"))
    assert traced.without_last_trace().without_last_trace().without_last_trace() == changed
    assert traced.question == asked
    swapped = traced.swapped()
    assert (swapped.target, swapped.distractor) == ((" him",), (" her",))
    assert swapped.swapped() == traced
    assert traced.compared().is_compared
    assert traced.compared().compared(False) == traced


def test_another_question_keeps_what_is_not_about_the_prompt() -> None:
    asked = Exploration("a b", (" her",), (), "a c", positions=(1,), prepend_bos=True, metric="probs", is_compared=True)
    asked = asked.with_change("L3H0").traced("L2H3")
    same = asked.asked("a b", (" them",), (), "a d")
    assert same == Exploration(
        "a b", (" them",), (), "a d", positions=(1,), prepend_bos=True, metric="probs", is_compared=True
    )
    other = asked.asked("x", (" them",))
    assert other == Exploration("x", (" them",), prepend_bos=True, metric="probs")
    assert asked.asked(CHAT).prepend_bos is None


def test_a_change_that_does_not_exist() -> None:
    for step in (EVERYTHING.without_change, EVERYTHING.switched):
        for number in (4, -1):
            with pytest.raises(ne.errors.IndexOutOfRangeError, match="Choose 0 to 3"):
                step(number)
    with pytest.raises(ne.errors.IndexOutOfRangeError, match="Nothing is overwritten"):
        Exploration("a").switched(0)
