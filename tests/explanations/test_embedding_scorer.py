"""Scores by embedding: what they measure, planted words and topics, and embedders that do not do."""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from explanations.planted.neurons import PlantedNeuron, planted_neurons
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations import EmbeddingScorer, ExplanationScore, SurprisalScorer, score
from neuron_explainer.explanations.asking.subject import subject_of
from neuron_explainer.explanations.embeddings.minilm import PACKAGE
from neuron_explainer.explanations.many.described import settings_as_json
from neuron_explainer.explanations.scoring.measures import auroc
from neuron_explainer.explanations.scoring.separation import area_of

needs_minilm = pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="MiniLM is not installed")
WORDS = ("LORD", "children", "yellow", "a", "e")


def by_letters(texts: list[str]) -> np.ndarray:
    """How often each of some strings is in each text."""
    return np.array([[1 + text.count(word) for word in WORDS] for text in texts], float)


@pytest.fixture
def record() -> NeuronRecord:
    return ne.load_neuron("tiny", 1, 100)


def test_the_value_is_the_auroc_of_the_similarities(record: NeuronRecord) -> None:
    found = score("yellow", record, EmbeddingScorer(by_letters), baselines=False)
    frame = found.judgements
    positive = frame["kind"] == "positive"
    assert found.value == pytest.approx(auroc(positive, frame["similarity"]))
    own = by_letters(["yellow"])[0]
    for text, similarity in zip(frame["text"], frame["similarity"], strict=True):
        vector = by_letters([text])[0]
        assert similarity == pytest.approx(own @ vector / np.linalg.norm(own) / np.linalg.norm(vector))
    difference = frame["similarity"][positive].mean() - frame["similarity"][~positive].mean()
    assert found.measures["mean difference of similarity"] == pytest.approx(difference)
    for kind, name in (("random", "AUROC against random texts"), ("near miss", "AUROC against near misses")):
        part = frame[positive | (frame["kind"] == kind)]
        assert found.measures[name] == pytest.approx(auroc(part["kind"] == "positive", part["similarity"]))
    low, high = found.interval
    assert low <= found.value <= high
    assert (found.chance, found.measure, found.scorer) == (0.5, "AUROC", "embedding")


def test_area_of_some_examples_is_their_auroc() -> None:
    random = np.random.default_rng(0)
    positive, values = random.random(20) < 0.5, random.integers(0, 5, 20).astype(float)
    area = area_of(positive, values)
    for _ in range(50):
        numbers = random.integers(0, 20, 12)
        assert area(numbers) == pytest.approx(auroc(positive[numbers], values[numbers]), nan_ok=True)
    assert math.isnan(area(np.flatnonzero(positive)))


def test_every_text_is_embedded_once_and_baselines_embed_their_explanation_alone(record: NeuronRecord) -> None:
    asked: list[str] = []

    def counting(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return by_letters(texts)

    scorer = EmbeddingScorer(counting)
    found = score("yellow", record, scorer, others=["children"])
    assert len(asked) == len(set(asked)) == len(found.judgements) + 3
    assert set(found.baselines) == {"most frequent token", "another explanation"}
    n_asked = len(asked)
    assert score("yellow", record, scorer, baselines=False).value == found.value
    assert len(asked) == n_asked


def test_a_score_is_the_same_whatever_was_scored_before(record: NeuronRecord) -> None:
    def by_batch(texts: list[str]) -> np.ndarray:
        """As models do: the last digits depend on what is in the batch."""
        return by_letters(texts) * (1 + 1e-3 * np.sin(len(texts) + np.arange(len(WORDS))))

    random = record.random_sample
    half = replace(record, random_sample=[*random[: len(random) // 2], *ne.load_neuron("tiny", 1, 101).random_sample])
    alone = score("yellow", half, EmbeddingScorer(by_batch), baselines=False)
    scorer = EmbeddingScorer(by_batch)
    before = score("yellow", record, scorer, baselines=False)
    assert set(before.judgements["text"]) & set(alone.judgements["text"])
    after = score("yellow", half, scorer, baselines=False)
    assert (after.value, after.interval, dict(after.measures)) == (alone.value, alone.interval, dict(alone.measures))


class _Encoder:
    def encode(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor(by_letters(texts), requires_grad=True)


def test_an_object_with_encode_does_as_a_function_does(record: NeuronRecord) -> None:
    by_function = score("yellow", record, EmbeddingScorer(by_letters), baselines=False)
    by_object = score("yellow", record, EmbeddingScorer(_Encoder()), baselines=False)
    assert by_object.judgements["similarity"].tolist() == pytest.approx(by_function.judgements["similarity"].tolist())


@pytest.mark.parametrize(
    ("embedder", "match"),
    [
        (lambda texts: np.full((len(texts), 3), np.nan), "NaN or infinity for the text 'yellow'"),
        (lambda texts: np.full((len(texts), 3), np.inf), "NaN or infinity"),
        (lambda texts: np.zeros((len(texts), 0)), r"shape \(\d+, 0\)"),
        (lambda texts: np.zeros(len(texts)), r"must be \(texts, width\)"),
        (lambda texts: np.zeros((1, 3)), r"shape \(1, 3\)"),
        (lambda texts: [[1.0], [1.0, 2.0]], "something else than an array"),
        (lambda texts: None, "texts, width"),
        (lambda texts: [["a"] * 3 for _ in texts], "something else than an array"),
        (lambda texts: np.zeros((len(texts), 3), complex) + 1j, "something else than an array"),
    ],
)
def test_an_embedder_that_gives_no_vectors_is_refused(
    record: NeuronRecord, embedder: Callable[[list[str]], Any], match: str
) -> None:
    with pytest.raises(InvalidRequestError, match=match):
        score("yellow", record, EmbeddingScorer(embedder))


def test_an_embedder_whose_width_changes_is_refused(record: NeuronRecord) -> None:
    scorer = EmbeddingScorer(lambda texts: np.ones((len(texts), len(texts))))
    with pytest.raises(InvalidRequestError, match="different widths"):
        score("yellow", record, scorer, baselines=False)


@pytest.mark.parametrize("height", [0.0, 1e-300, 1e300])
def test_vectors_of_any_length_give_cosines(record: NeuronRecord, height: float) -> None:
    found = score("yellow", record, EmbeddingScorer(lambda texts: height * by_letters(texts)), baselines=False)
    usual = score("yellow", record, EmbeddingScorer(by_letters), baselines=False).judgements["similarity"]
    expected = usual * 0 if height == 0 else usual
    assert found.judgements["similarity"].tolist() == pytest.approx(expected.tolist())
    assert found.value == 0.5 or height > 0


@pytest.mark.parametrize("embedder", [3, "all-MiniLM", _Encoder, np.zeros(3)])
def test_what_is_no_embedder_is_refused(embedder: Any) -> None:
    with pytest.raises(InvalidRequestError, match="Give a function"):
        EmbeddingScorer(embedder)


@pytest.mark.parametrize("setting", [{"n_tokens": 0}, {"n_tokens": 10**6}, {"n_texts": 1}, {"seed": -1}])
def test_settings_out_of_range_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(setting))):
        EmbeddingScorer(by_letters, **setting)


@needs_minilm
def test_planted_words_and_topics_are_told_from_each_other() -> None:
    scorer = EmbeddingScorer(device="cpu", n_texts=16)
    assert share_of_pairs_won(scorer, planted("word", 6) + planted("topic", 6)) >= 0.9


def test_planted_words_and_topics_are_told_from_each_other_by_surprisal(smollm2: ne.ModelContext) -> None:
    scorer = SurprisalScorer(smollm2, n_texts=6, n_tokens=10)
    horse_and_bread, money_and_medicine = planted("word", 2), planted("topic", 8)[4:7:2]
    assert share_of_pairs_won(scorer, horse_and_bread + money_and_medicine) >= 0.9


def planted(kind: str, n: int) -> list[PlantedNeuron]:
    return [each for each in planted_neurons(("none",)) if each.kind == kind][:n]


def share_of_pairs_won(scorer: EmbeddingScorer | SurprisalScorer, neurons: list[PlantedNeuron]) -> float:
    """How often the right explanation of a neuron has a better score than the right one of another neuron.

    Where both tell all texts apart, that one does better whose numbers differ more.
    """
    won = []
    for neuron in neurons:
        subject = subject_of(neuron.record)
        own = _rank(scorer.score(neuron.right, subject))
        won += [own > _rank(scorer.score(other.right, subject)) for other in neurons if other is not neuron]
    return float(np.mean(won))


def _rank(found: ExplanationScore) -> tuple[float, float]:
    return found.value, next(iter(found.measures.values()))


def test_a_run_that_goes_on_tells_embedders_apart() -> None:
    def lengths(texts: list[str]) -> list[list[int]]:
        return [[len(text), 1] for text in texts]

    def spaces(texts: list[str]) -> list[list[int]]:
        return [[text.count(" "), 1] for text in texts]

    settings = [settings_as_json(EmbeddingScorer(each)) for each in (lengths, spaces, lengths)]
    assert settings[0] != settings[1]
    assert settings[0] == settings[2]
