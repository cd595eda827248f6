"""What is asked again is the same question: about the same tokens, with the same beginning."""

from typing import Any

import pytest

import neuron_explainer as ne
from helpers.chats import chat_model
from neuron_explainer.attribution import attribute

TEXT, OTHER = "And the LORD said unto", "And the king said unto"
VALUES: list[Any] = [0, "mean", OTHER]


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def test_the_models_own_choice_stays_what_it_was(tiny: ne.StandardModelContext) -> None:
    own, named = attribute(tiny, TEXT), attribute(tiny, TEXT, " him", " me")
    assert own.inquiry.title == named.inquiry.title == "logit of ' him' minus that of ' me'"
    assert own.value == named.value
    assert own.answers()["answer"].tolist() == [" him", " me"]
    # Without this head the model's first choice is another one.
    without = own.ablate("L3H0")
    assert without.next_tokens(1)["token"].tolist() != [" him"]
    assert without.value == named.ablate("L3H0").value
    assert own.compare(OTHER).second.value == named.compare(OTHER).second.value
    for value in VALUES:
        assert own.verify(8, value=value).equals(named.verify(8, value=value))
    several = attribute(tiny, [TEXT, "She said"])
    assert [why.inquiry.title for why in several] == [own.inquiry.title, "logit of ',' minus that of ' to'"]


def test_a_second_text_begins_as_the_first_one_does() -> None:
    model = chat_model(begins=True)
    bare = attribute(model, "ab", prepend_bos=False)
    begun = attribute(model, "ab")
    assert len(begun.store.token_ids) == len(bare.store.token_ids) + 1
    for why, beginning in ((bare, False), (begun, True), (attribute(model, model.encode("ab")), True)):
        other = model.to_tokens("ba", prepend_bos=beginning).tolist()
        second = why.compare("ba").second
        assert second.effects[0].prompt.token_ids == other[0]
        assert why.ablate("L0MLP", value="ba").value == why.ablate("L0MLP", value=other).value
        assert why.verify(3, value="ba").equals(why.verify(3, value=other))


def test_a_trace_onto_the_metric_names_the_answer_of_its_pass(tiny: ne.StandardModelContext) -> None:
    both = attribute(tiny, TEXT, " Moses, Speak", " the king")
    assert "(log-probability of ' Moses, Speak')" in both.trace("L2H3@5<-4", through="v").inquiry.title
    nodes = both.nodes(2000, kinds="head")
    row = nodes[(nodes["answer"] == " the king") & nodes["name"].str.startswith("L2H3@5")].iloc[0]
    assert "(log-probability of ' the king')" in both.trace(row, through="v").inquiry.title
