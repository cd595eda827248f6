"""Questions to start from, and chats as one text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuron_explainer as ne
from helpers.chats import chat_model
from helpers.derived_scalars import context
from neuron_explainer.attribution.exploring.chat_text import chat_of, text_of_chat
from neuron_explainer.attribution.exploring.examples import examples_for
from neuron_explainer.errors import PromptError


def test_examples_fit_the_embedded_model() -> None:
    model = ne.load_model("tiny", device="cpu")
    examples = examples_for(model)
    assert 6 <= len(examples) <= 8
    assert len({example.title for example in examples}) == len(examples)
    first: ne.Attribution = ne.attribute(model, examples[0].prompt, examples[0].target, examples[0].distractor)
    assert first.value > 1
    for example in examples:
        why: ne.Attribution = ne.attribute(model, example.prompt, example.target, example.distractor)
        assert why.hints == ()
        assert not why.inquiry.is_by_answer
        other = why.compare(example.other_prompt).second
        assert why.value > 0
        assert why.value > other.value, example.title  # what differs between the prompts decides


def test_answers_are_the_tokens_with_which_a_prompt_goes_on() -> None:
    model = chat_model()
    for example in examples_for(model):
        for answer in (example.target, example.distractor):
            assert model.encode(example.prompt + answer) == [
                *model.encode(example.prompt),
                model.encode_token_str(answer),
            ]
    assert examples_for(ne.StandardModelContext("none", context("gpt2").get_or_create_model())) == []


def test_a_tokenizer_that_puts_a_space_before_every_text() -> None:
    model = ne.load_model("tiny", device="cpu")

    class WithSpace:
        """A model whose tokenizer puts a space before every text."""

        max_context_length = 100

        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return model.encode(f" {text}")

    answers = {answer for each in examples_for(WithSpace()) for answer in (each.target, each.distractor)}  # type: ignore[arg-type]
    assert {"her", "him", "she", "he"} <= answers
    assert not any(answer.startswith(" ") for answer in answers)


ROLES = st.sampled_from(["system", "user", "assistant"])
CONTENTS = st.text("ab :\\\n\t", max_size=12) | st.builds(
    "\n".join, st.lists(st.sampled_from(["user: a", "\\user:", "\\\\assistant: b", "", "c", " system:"]), max_size=4)
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": ROLES, "content": CONTENTS.filter(lambda text: bool(text.strip()))}), min_size=1
)


@given(MESSAGES)
def test_messages_come_back_as_they_were(messages: list[dict[str, Any]]) -> None:
    assert chat_of(text_of_chat(messages)) == messages


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("user: Hello", [("user", "Hello")]),
        ("user:Hello", [("user", "Hello")]),
        (
            "\nsystem: Be brief.\nuser: Hi\nthere\n\nassistant: Well",
            [("system", "Be brief."), ("user", "Hi\nthere\n"), ("assistant", "Well")],
        ),
        ("user: I said\n\\user: no", [("user", "I said\nuser: no")]),
    ],
)
def test_a_chat_as_a_person_writes_it(text: str, messages: list[tuple[str, str]]) -> None:
    assert chat_of(text) == [{"role": role, "content": content} for role, content in messages]


@pytest.mark.parametrize("text", ["", "Hello", "User: Hello", "a\nuser: b", " user: a", "users: a", "user", "tool: a"])
def test_other_texts_are_no_chats(text: str) -> None:
    assert chat_of(text) is None


def test_a_role_without_a_text() -> None:
    with pytest.raises(
        PromptError, match=r"Line 3 needs a text: assistant: … Or leave it out: the model's answer begins"
    ):
        chat_of("user: Hello\nthere\nassistant: ")
    with pytest.raises(PromptError, match="Line 1 needs a text: system:"):
        chat_of("system:\nuser: Hello")


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "tool", "content": "a"}, "has the role 'tool'"),
        ({"role": "user", "content": " "}, "has the content ' '"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}]}, "has the content"),
        ({"role": "assistant", "tool_calls": []}, "has the content None"),
        ({"role": "assistant", "content": "a", "tool_calls": [], "name": "b"}, "has name, tool_calls, too"),
    ],
)
def test_messages_that_no_text_says(message: dict[str, Any], problem: str) -> None:
    with pytest.raises(PromptError, match=f"Message 1 {problem}"):
        text_of_chat([{"role": "user", "content": "a"}, message])
