"""JSON in answers: found where models put it, and taken strictly."""

import time

import msgspec
import pytest

from neuron_explainer.errors import AnswerFormatError
from neuron_explainer.explanations import ChatAnswer
from neuron_explainer.explanations.clients.structured import parsed, schema_of


class Judgement(msgspec.Struct, forbid_unknown_fields=True):
    activates: bool
    why: str = ""


class Judgements(msgspec.Struct):
    judgements: list[Judgement]
    mean: float | None = None


ONE = Judgement(True, 'a } and a " and ```')


@pytest.mark.parametrize(
    "text",
    [
        '{"activates": true, "why": "a } and a \\" and ```"}',
        ' \n{"activates": true, "why": "a } and a \\" and ```"}\n',
        'Here it is:\n```json\n{"activates": true, "why": "a } and a \\" and ```"}\n```\nGood?',
        'I judge [as asked] that {"activates": true, "why": "a } and a \\" and ```"} and not {"activates": false}.',
        'It "quotes": {"activates": true, "why": "a } and a \\" and ```"}',
        '<think>{"activates": false}</think>{"activates": true, "why": "a } and a \\" and ```"}',
    ],
)
def test_the_json_is_found(text: str):
    assert parsed(ChatAnswer(text), Judgement) == ONE
    assert parsed(ChatAnswer(text), msgspec.json.Decoder(Judgement)) == ONE


def test_lists_and_numbers_are_json_too():
    assert parsed(ChatAnswer("The activations: [1, 0, 10]"), list[int]) == [1, 0, 10]
    assert parsed(ChatAnswer("7"), int) == 7
    assert parsed(ChatAnswer("```\n[1]\n```"), list[int]) == [1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no whole JSON value"),
        ("I cannot answer that.", "it has no whole JSON value"),
        ('{"activates": true', "it has no whole JSON value"),
        ('{"activates": "true"}', "Expected `bool`, got `str` - at `$.activates`"),
        ('{"activates": 1}', "Expected `bool`, got `int`"),
        ('{"why": "x"}', "Object missing required field `activates`"),
        ('{"activates": true, "extra": 1}', "unknown field `extra`"),
        ("[true]", "Expected `object`, got `array`"),
        ('{"activates": NaN}', "it has no whole JSON value"),
        ("{'activates': True}", "it has no whole JSON value"),
        ('{"activates": true, "why": ' + "[" * 100 + "]" * 100 + "}", "it has no whole JSON value"),
    ],
)
def test_another_form_is_refused_with_what_was_expected(text: str, problem: str):
    with pytest.raises(AnswerFormatError) as caught:
        parsed(ChatAnswer(text), Judgement)
    error = caught.value
    assert problem in error.problem
    assert error.expected == "JSON with activates, why"
    assert error.expected in str(error)


def test_an_answer_that_was_cut_off_says_so():
    with pytest.raises(AnswerFormatError, match=r"cut off at the most tokens\. So"):
        parsed(ChatAnswer('{"activates": tr', is_whole=False), Judgement)
    assert parsed(ChatAnswer('{"activates": true} and', is_whole=False), Judgement) == Judgement(True)


def test_an_excerpt_is_short_and_cannot_steer():
    with pytest.raises(AnswerFormatError) as caught:
        parsed(ChatAnswer("\x1b[31m\u202e" + "x" * 100_000), Judgement)
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"' * 10**6, '"' * 10**6 + "{", "{" + "\\" * 10**6, "```" * 10**6, "[]x" * 10**5]
)
def test_long_answers_take_linear_time(text: str):
    began = time.monotonic()
    with pytest.raises(AnswerFormatError):
        parsed(ChatAnswer(text), Judgement)
    assert time.monotonic() - began < 2


def test_a_schema_has_no_references_and_no_other_fields():
    schema = schema_of(Judgements)
    (item,) = (schema["properties"]["judgements"]["items"],)
    assert item["properties"]["activates"] == {"type": "boolean"}
    assert item["additionalProperties"] is False
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["judgements"]
    assert "$ref" not in str(schema)


def test_half_of_a_surrogate_pair_is_no_reason_to_lose_an_answer():
    text = r'[{"activates": true, "why": "\ud83d \ud83d\ude00 \udc00 \\ud83d"}]'
    assert parsed(ChatAnswer(text), list[Judgement]) == [Judgement(True, "\ufffd \U0001f600 \ufffd \\ud83d")]


def test_a_thought_without_an_end_is_no_answer():
    for text in ('<think>It may be {"activates": true}, or', '<think>{"activates": true}</think>\n<think>But {"a": 1}'):
        with pytest.raises(AnswerFormatError, match="no whole JSON value"):
            parsed(ChatAnswer(text, is_whole=False), Judgement)
