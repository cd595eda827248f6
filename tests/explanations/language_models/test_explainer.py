"""Explanations by a language model: what is asked, and what becomes of the answers."""

import json
from typing import Any

import pytest

from explanations.chat_in_memory import RUBBISH, ScriptedChat, is_asked_again, numbered_in, question_of, says
from explanations.language_models.test_quoting import INJECTIONS, MARKS
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.activations.attention_utils import flatten
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.errors import AnswerFormatError, InvalidRequestError
from neuron_explainer.explanations import Demonstration, LanguageModelExplainer, explain
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.subject import Subject, subject_of
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.scoring.texts import texts_to_judge

CATS = ActivationRecord(["The", " cat", " and", " the", " dog"], [0.0, 4.0, 0.1, -1.0, 1.4])
MORE = ActivationRecord(["One", " cat", " sat"], [0.0, 2.0, 0.0])
NEAR = ActivationRecord(["A", " Cat", " flap"], [0.1, 0.0, 0.2])
FAR = ActivationRecord(["It", " rained"], [0.0, 0.0])
HIGH = ActivationRecord(["My", " cat"], [0.0, 3.0])
OTHERS = [ActivationRecord([f"text {number}"], [0.5]) for number in range(30)]


def record(*train: ActivationRecord, random: tuple[ActivationRecord, ...] = ()) -> NeuronRecord:
    """A record whose examples for writing are these: every fourth of the top ones."""
    top = [each for number, example in enumerate(train) for each in (example, *OTHERS[3 * number : 3 * number + 3])]
    return NeuronRecord(
        NeuronId(layer_index=2, neuron_index=5), most_positive_activation_records=top, random_sample=list(random)
    )


def last_question(subject: Any, **options: Any) -> str:
    request, _ = LanguageModelExplainer(says(""), **options).request(subject_of(subject))
    return request.messages[-1][1]


def answer(text: str) -> str:
    return json.dumps({"explanation": text})


def test_marked_texts_and_their_levels() -> None:
    assert last_question(record(MORE, CATS)).splitlines() == [
        "Texts in which it is active:",
        '1. "The<< cat>> and the<< dog>>"',
        '   levels: [[" cat", 10], [" dog", 4]]',
        '2. "One<< cat>> sat"',
        '   levels: [[" cat", 5]]',
    ]


def test_listed_texts() -> None:
    question = last_question(record(CATS), show="listed")
    assert question.splitlines()[1] == '1. [["The", 0], [" cat", 10], [" and", 0], [" the", 0], [" dog", 4]]'


def test_near_misses_are_low_and_have_a_token_of_the_peaks() -> None:
    question = last_question(record(CATS, random=(NEAR, FAR, HIGH)))
    assert question.splitlines()[-2:] == [prompts.NEAR_MISS_HEADING, '1. "A Cat flap"']
    assert prompts.NEAR_MISS_HEADING not in last_question(record(CATS, random=(NEAR, FAR)), contrast=False)


def test_output_tokens_where_they_are_known() -> None:
    known = Subject(record(CATS), NodeKind.NEURON, "L2N5", lambda n: [" purr", "\n"][:n])
    assert last_question(known).splitlines()[-2:] == [prompts.OUTPUTS_HEADING, '" purr", "\\n"']
    assert prompts.OUTPUTS_HEADING not in last_question(known, outputs=False)


def test_pieces_are_cut_around_the_peak() -> None:
    tokens = [f" {number}" for number in range(100)]
    long = ActivationRecord(tokens, [3.0 if number == 50 else 0.0 for number in range(100)])
    assert last_question(record(long), window=4).splitlines()[1] == '1. " 47 48 49<< 50>>"'


def test_pairs_of_a_head_say_what_attends_to_what() -> None:
    matrix = [[0.0, 0, 0], [4.0, 0.1, 0], [0.1, 2.0, 2.2]]
    pairs = ActivationRecord(["A", " cat", " sat"], flatten(matrix))
    question = last_question(record(pairs))
    assert question.splitlines()[1:] == [
        '1. "A<< cat>><< sat>>"',
        '   " cat" attends to "A", 1 token before it: 10',
        '   " sat" attends to itself: 6',
        '   " sat" attends to " cat", 1 token before it: 5',
    ]
    request, _ = LanguageModelExplainer(says("")).request(subject_of(record(pairs)))
    assert request.messages[0][1].startswith(prompts.EXPLAIN[NodeKind.HEAD])
    assert prompts.AS_PAIRS in request.messages[0][1]


def test_a_pair_whose_other_token_is_before_the_piece() -> None:
    tokens = [f" {number}" for number in range(10)]
    matrix = [[5.0 if (row, column) == (9, 1) else 0.0 for column in range(10)] for row in range(10)]
    assert last_question(record(ActivationRecord(tokens, flatten(matrix))), window=2).splitlines()[1:] == [
        '1. " 8<< 9>>"',
        '   " 9" attends to " 1", 8 tokens before it: 10',
    ]


def test_instructions_demonstrations_and_form() -> None:
    own = Demonstration((), "cats")
    explainer = LanguageModelExplainer(says(""), instructions="Say what it is.", demonstrations=[own])
    request, _ = explainer.request(subject_of(record(CATS)))
    system, question, demonstrated, _ = request.messages
    assert system[1].startswith("Say what it is.\n\n")
    assert system[1].endswith(prompts.ANSWER_EXPLANATION)
    assert (question[0], demonstrated) == ("user", ("assistant", answer("cats")))
    assert request.schema == {
        "type": "object",
        "title": "_Written",
        "properties": {"explanation": {"type": "string"}},
        "required": ["explanation"],
        "additionalProperties": False,
    }
    usual, _ = LanguageModelExplainer(says("")).request(subject_of(record(CATS)))
    assert len(usual.messages) == 2 + 2 * len(prompts.DEMONSTRATIONS[NodeKind.NEURON])


def test_one_explanation_is_asked_for_without_chance_and_several_with_it() -> None:
    client = says(answer("cats"))
    found = explain(record(CATS), LanguageModelExplainer(client))
    assert ([each.text for each in found], found[0].explainer) == (["cats"], "language model scripted")
    assert [(each.temperature, each.seed) for each in client.questions] == [(0.0, 0)]
    client = says(answer("cats"), answer(" dogs "), answer("dogs"))
    found = explain(record(CATS), LanguageModelExplainer(client, temperature=1.5, seed=7), n=3)
    assert [(each.temperature, each.seed) for each in client.questions] == [(1.5, 7), (1.5, 8), (1.5, 9)]
    assert [(each.text, each.details["times answered"]) for each in found] == [("dogs", 2), ("cats", 1)]
    assert len(client.asked) == 1


def test_a_malformed_answer_is_asked_for_once_more() -> None:
    client = says(RUBBISH, answer("cats"))
    assert explain(record(CATS), LanguageModelExplainer(client))[0].text == "cats"
    first, again = client.questions
    assert again.messages[: len(first.messages)] == first.messages
    assert again.messages[-2] == ("assistant", RUBBISH)
    assert is_asked_again(again)
    for wrong in (RUBBISH, answer("  "), '{"explanation": 3}', '{"text": "cats"}'):
        client = says(wrong)
        with pytest.raises(AnswerFormatError):
            explain(record(CATS), LanguageModelExplainer(client))
        assert len(client.questions) == 2


def test_of_several_answers_those_that_can_be_read_count() -> None:
    client = ScriptedChat(lambda request: RUBBISH if request.seed == 1 else answer("cats"))
    (found,) = explain(record(CATS), LanguageModelExplainer(client), n=3)
    assert (found.details["times answered"], found.details["unreadable"]) == (2, 1)


def test_long_explanations_are_cut() -> None:
    client = says(answer("x" * 20_000))
    assert len(explain(record(CATS), LanguageModelExplainer(client))[0].text) == 10_000


def test_what_was_shown_is_never_scored() -> None:
    given = record(CATS, MORE, random=(NEAR, FAR, HIGH))
    (found,) = explain(given, LanguageModelExplainer(says(answer("cats"))))
    assert found.written_from == {text_key(each) for each in (CATS, MORE, NEAR)}
    (found,) = explain(given, LanguageModelExplainer(says(answer("cats")), n_examples=1, contrast=False))
    assert found.written_from == {text_key(CATS)}
    assert not {each.source for each in texts_to_judge(subject_of(given), found)} & found.written_from


@pytest.mark.parametrize("show", ["marked", "listed"])
def test_hostile_texts_change_no_structure(show: Any) -> None:
    hostile = [*HOSTILE_TOKENS, *INJECTIONS, *MARKS]
    examples = [
        ActivationRecord(["the", token, token, "x"], [0.0, 5.0 - n / 100, 1, 0.0]) for n, token in enumerate(hostile)
    ]
    given = record(*examples[:8], random=(ActivationRecord([examples[0].tokens[1], "\n2. b"], [0.0, 0.0]),))
    question = last_question(given, n_examples=8, show=show)
    active, missed = question.split(prompts.NEAR_MISS_HEADING)
    assert [len(numbered_in(part)) for part in (active, missed)] == [8, 1]
    for each, example in zip(numbered_in(active), examples, strict=False):
        if show == "listed":
            assert [token for token, _ in json.loads(each)] == example.tokens
        else:
            assert json.loads(each.replace("<<", "").replace(">>", "")) == "".join(example.tokens)
            assert each.count("<<") == 1
    assert len(question.splitlines()) == (2 + 8 * (2 if show == "marked" else 1) + 1)


def test_all_questions_are_about_the_whole_of_what_was_asked() -> None:
    client = says(answer("cats"))
    explain(record(CATS), LanguageModelExplainer(client))
    assert question_of(client.questions[0]) == last_question(record(CATS))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"show": "bold"}, "marked, listed"),
        ({"n_examples": 0}, "n_examples is 0"),
        ({"temperature": -1}, "temperature is -1"),
        ({"contrast": "no"}, "contrast is 'no'"),
        ({"instructions": 3}, "instructions must be of type str"),
        ({"demonstrations": ["a"]}, "demonstrations must be of type Demonstration"),
        ({"demonstrations": "a"}, "demonstrations is 'a'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_odd_arguments(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        LanguageModelExplainer(says(""), **options)


@pytest.mark.parametrize("client", [None, "gpt", ScriptedChat])
def test_what_is_no_client(client: Any) -> None:
    with pytest.raises(InvalidRequestError, match="Give a language model to ask"):
        LanguageModelExplainer(client)


def test_a_client_that_loses_answers() -> None:
    class Loses(ScriptedChat):
        def ask(self, requests: Any, *, progress: bool | None = None) -> Any:
            return super().ask(requests)[1:]

    with pytest.raises(InvalidRequestError, match="0 answers to 1 questions"):
        explain(record(CATS), LanguageModelExplainer(Loses(lambda _: answer("cats"))))


def test_a_record_without_activations() -> None:
    with pytest.raises(InvalidRequestError, match="activation above 0"):
        explain(record(FAR), LanguageModelExplainer(says(answer("cats"))))
