"""Explanations of neurons: both spellings of their files, scores, and invalid files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.explanations import PRESENT, UNCALIBRATED, in_old_spelling
from helpers.property_tests import property_settings
from neuron_explainer.activation_server import load_explanations
from neuron_explainer.activation_server.dataset_paths import explanations_path
from neuron_explainer.activations.activations import NeuronId
from neuron_explainer.activations.explanation_files import (
    NeuronSimulationResults,
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
    explanations_from_json,
)
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, NeuronNotFoundError, UnknownDatasetError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

MLP = DerivedScalarType.MLP_POST_ACT


def simulation(scale: str, uncalibrated: SequenceSimulation | None = None) -> SequenceSimulation:
    return SequenceSimulation(["a", "b"], [1.0, 9.0], scale, [[0, 10], [10]], [[0.9, 0.1], [1.0]], uncalibrated)


EXPECTED = NeuronSimulationResults(
    NeuronId(3, 7),
    [
        ScoredExplanation(
            "the word b",
            Scores(0.5, -0.25, 0.125),
            [
                ScoredSequenceSimulation(
                    simulation("neuron_activations", simulation("simulated_normalized_activations")),
                    [0.0, 0.5],
                    Scores(0.75, None, None),
                )
            ],
        )
    ],
)


@pytest.mark.parametrize("fields", [PRESENT, in_old_spelling(PRESENT)], ids=["present", "old"])
def test_both_spellings(fields, tmp_path):
    path = tmp_path / "3" / "7.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(fields) + "\n")
    results = load_explanations(tmp_path, 3, 7)
    assert results == EXPECTED
    assert results.source == str(path)
    assert results.to_dataframe().iloc[0].to_dict() == {
        "explanation": "the word b",
        "ev_correlation_score": 0.5,
        "rsquared_score": -0.25,
        "absolute_dev_explained_score": 0.125,
        "n_sequences": 1,
    }
    with pytest.raises(NeuronNotFoundError, match="no explanations of neuron 8 in layer 3"):
        load_explanations(tmp_path, 3, 8)
    with pytest.raises(InvalidRequestError):
        load_explanations(tmp_path, 3, "../7")  # type: ignore[arg-type]


def test_addresses_of_the_public_explanations():
    base = "https://openaipublic.blob.core.windows.net/neuron-explainer/"
    assert explanations_path("gpt2-xl", MLP) == base + "data/explanations/"
    assert explanations_path("gpt2-small", MLP) == base + "gpt2_small_data/explanations/"
    assert explanations_path("https://host/x", MLP) == "https://host/x"
    with pytest.raises(InvalidRequestError, match="gpt2-xl"):
        explanations_path("gpt2-small", DerivedScalarType.ATTN_WRITE_NORM)
    with pytest.raises(UnknownDatasetError):
        explanations_path("gpt2", MLP)


def changed(path: str, value: object) -> bytes:
    fields = json.loads(json.dumps(PRESENT))
    *names, last = path.split(".")
    inner = fields
    for name in names:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[last] = value
    return json.dumps(fields).encode()


SEQUENCE = "scored_explanations.0.scored_simulation.scored_sequence_simulations.0"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"<html>", "HTML"),
        (b"[]", "array"),
        (b"{}", "neuron_id"),
        (changed("scored_explanations", None), "scored_explanations"),
        (changed("scored_explanations.0.explanation", None), "explanation"),
        (changed("neuron_id.layer_index", "x"), "layer"),
        (changed(f"{SEQUENCE}.true_activations", [1.0]), r"true activations \(1\)"),
        (changed(f"{SEQUENCE}.sequence_simulation.expected_activations", []), r"expected activations \(0\)"),
        (changed(f"{SEQUENCE}.sequence_simulation.tokens", [1, 2]), "str"),
        (json.dumps(PRESENT).encode()[:-2], "truncated"),
        (b'{"x":' + b"[" * 100_000, "nested"),
    ],
)
def test_invalid_files_are_refused(content, problem):
    with pytest.raises(MalformedRecordError, match=problem) as caught:
        explanations_from_json(content, "file")
    assert str(caught.value).startswith("file is not an explanations file: ")


@pytest.mark.parametrize("depth", [200, 400, 600, 800, 900, 950, 980, 1500])
def test_endlessly_nested_simulations_are_refused(depth):
    one = b'{"tokens": [], "expected_activations": [], "uncalibrated_simulation": '
    content = (
        json.dumps(PRESENT).encode().replace(json.dumps(UNCALIBRATED).encode(), one * depth + b"null" + b"}" * depth)
    )
    try:
        explanations_from_json(content)
    except MalformedRecordError as error:
        assert "nested" in error.problem  # noqa: PT017


@property_settings(150)
@given(
    st.integers(0, 10**6),
    st.integers(0, 8),
    st.sampled_from([b"", b"NaN", b"null", b"[", b"}", b'"', b"\xff", b"1e999"]),
)
def test_changed_bytes_are_read_or_refused(place, length, piece):
    content = bytearray(json.dumps(PRESENT).encode())
    place %= len(content)
    content[place : place + length] = piece
    try:
        explanations_from_json(bytes(content))
    except MalformedRecordError:
        return
