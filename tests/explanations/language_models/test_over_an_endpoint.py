"""Explanations and scores by an endpoint and its cache."""

from pathlib import Path

import pytest

from explanations.chat_in_memory import RUBBISH, detects, says, simulates
from explanations.language_models.one_planted import planted
from helpers.asking_clients import client_of
from helpers.scripted_endpoint import Question, scripted_endpoint
from neuron_explainer.errors import AnswerFormatError
from neuron_explainer.explanations import (
    ChatRequest,
    DetectionScorer,
    LanguageModelExplainer,
    SimulationScorer,
    explain,
    score,
)

NEURON = planted("word")


def reply(question: Question) -> str:
    """Explains, detects and simulates as one who knows the rule."""
    messages = tuple((each["role"], each["content"]) for each in question.body["messages"])
    request, system = ChatRequest(messages), messages[0][1]
    if '"judgements"' in system:
        return str(detects(NEURON.rule).answer(request))
    client = simulates(NEURON.rule) if '"activations"' in system else says('{"explanation": "the word \'horse\'"}')
    return str(client.answer(request))


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    with scripted_endpoint(reply) as endpoint:
        values, asked = [], []
        for _ in range(2):
            client = client_of(endpoint, tmp_path / "answers")
            (explanation,) = explain(NEURON.record, LanguageModelExplainer(client))
            assert explanation.text == NEURON.explanation
            scorers = (DetectionScorer(client, n_tokens=12), SimulationScorer(client))
            values.append([score(explanation, NEURON.record, each, baselines=False).value for each in scorers])
            asked.append(len(endpoint.questions))
        assert values[0] == values[1] == pytest.approx([1, 1])
        assert asked[0] == asked[1] > 20
        assert all(question.body["response_format"]["type"] == "json_schema" for question in endpoint.questions)


def test_an_endpoint_that_talks(tmp_path: Path) -> None:
    with scripted_endpoint(lambda _: RUBBISH) as endpoint:
        with pytest.raises(AnswerFormatError, match="does not have the form"):
            explain(NEURON.record, LanguageModelExplainer(client_of(endpoint, tmp_path / "answers")))
        assert len(endpoint.questions) == 2
