"""What people get wrong when they explain and score for the first time: messages say what to do instead."""

import dataclasses
import json

import pytest

import neuron_explainer as ne
from explanations.chat_in_memory import ScriptedChat, numbered_in, question_of
from neuron_explainer.errors import AnswerFormatError, ExplainingStoppedError, InvalidRequestError
from neuron_explainer.explanations import (
    ChatAnswer,
    ChatRequest,
    DetectionScorer,
    FuzzingScorer,
    LanguageModelExplainer,
    LanguageModelSimulator,
    OpenAICompatibleClient,
    PatternExplainer,
    PatternScorer,
    SimulationScorer,
    TokenExplainer,
    save_explanations,
    save_neuronpedia_explanations,
)


@pytest.fixture(scope="module")
def node() -> ne.Component:
    return ne.component("tiny", "L1N355")


def test_all_explanations_instead_of_one(node: ne.Component) -> None:
    with pytest.raises(InvalidRequestError, match=r"2 explanations\. Give one of them, such as explanations\[0\]"):
        ne.score(ne.explain(node, n=2), node)  # type: ignore[arg-type]


def test_the_component_before_the_explanation(node: ne.Component) -> None:
    with pytest.raises(InvalidRequestError, match="the component comes after it"):
        ne.score(node, "titles")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["said Mr.", 3, [1, 2], b"said"])
def test_a_text_as_a_whole_is_no_list_of_tokens(node: ne.Component, text: object) -> None:
    with pytest.raises(InvalidRequestError, match="Give a list of tokens"):
        ne.explain(node)[0].simulate(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address", ["localhost:8000", "localhost:8000/v1", "api.openai.com/v1", "s3://host/v1", "gpt-4"]
)
def test_an_address_without_http(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="Give an http"):
        OpenAICompatibleClient(address, "a-model")


def test_explainers_and_scorers_say_what_they_are(node: ne.Component) -> None:
    client = ScriptedChat(lambda _: "{}")
    things = [
        *(PatternExplainer(), TokenExplainer(3), PatternScorer(), LanguageModelExplainer(client)),
        *(SimulationScorer(), DetectionScorer(client), FuzzingScorer(client)),
        LanguageModelSimulator(client, "names"),
    ]
    for each in things:
        assert type(each).__name__ in repr(each)
        assert "object at" not in repr(each)
    with pytest.raises(InvalidRequestError, match=r"explainer is PatternScorer\(\)\. Give one"):
        ne.explain(node, PatternScorer())  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"scorer is PatternExplainer\(8\)\. Give one"):
        ne.score("titles", node, PatternExplainer())  # type: ignore[arg-type]


def test_errors_of_answers_name_no_class_and_no_argument_that_is_not_there(node: ne.Component) -> None:
    cut = ScriptedChat(lambda _: ChatAnswer('{"explanation": "na', is_whole=False))
    with pytest.raises(AnswerFormatError, match=r"raise max_tokens\. So .* Expected: JSON with explanation"):
        ne.explain(node, LanguageModelExplainer(cut))
    with pytest.raises(AnswerFormatError, match="Expected: JSON with judgements") as caught:
        ne.score("titles", node, DetectionScorer(cut))
    assert "max_tokens" not in str(caught.value)  # a DetectionScorer takes none


def test_what_is_not_of_a_file_is_not_saved(node: ne.Component, tmp_path) -> None:
    explained = ne.explain(node)
    with pytest.raises(InvalidRequestError, match=r"Give what ne\.load_explanations gives, or NeuronSimulationResults"):
        save_explanations(explained, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="scored_explanation"):
        save_neuronpedia_explanations([explained], tmp_path, model="m", source="0-mlp", method="x")  # type: ignore[list-item]


def test_heads_of_a_dataset_of_neurons(tmp_path) -> None:
    with pytest.raises(InvalidRequestError, match='Give another dst, such as dst="attn_write_norm"'):
        ne.explain_dataset("tiny", ["L1H2"], out=tmp_path / "out")


def test_an_error_that_stops_all_ends_its_sentence() -> None:
    for said in ("no answer (attempts: 2)", "No answer."):
        error = ExplainingStoppedError("out", 1, 2, ValueError(said))
        assert f"{said.rstrip('.')}. 1 of 2 components are done" in str(error)


def test_a_viewer_of_something_else(node: ne.Component) -> None:
    with pytest.raises(InvalidRequestError, match="or a NeuronViewer"):
        ne.explain(ne.NodePicker("tiny", node="L2N5"))


def test_scores_of_few_texts_are_marked(node: ne.Component) -> None:
    few = dataclasses.replace(
        node.record, most_positive_activation_records=node.record.most_positive_activation_records[:8], random_sample=[]
    )
    explanation = ne.explain(few)[0]
    for scorer in (PatternScorer(), SimulationScorer()):
        assert "only 2 texts" in ne.score(explanation, few, scorer, baselines=False).note
    fuzzed = ne.score("titles", few, FuzzingScorer(ScriptedChat(_all_fit)), baselines=False)
    assert "only 3 texts" in fuzzed.note  # pieces of the two
    assert "only" not in ne.score(explanation, node, PatternScorer(), baselines=False).note


def _all_fit(request: ChatRequest) -> str:
    n_texts = len(numbered_in(question_of(request)))
    return json.dumps({"judgements": [{"text": at + 1, "fits": True} for at in range(n_texts)]})
