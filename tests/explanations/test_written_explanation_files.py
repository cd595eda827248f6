"""Files of explanations: OpenAI's written and read again, scores as simulations, Neuronpedia's rows."""

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuron_explainer as ne
from helpers.explanations import PRESENT
from helpers.property_tests import property_settings
from neuron_explainer.activations.explanation_files import (
    NeuronSimulationResults,
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
    explanations_from_json,
)
from neuron_explainer.components.notes import csv_files
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, MissingFileError
from neuron_explainer.explanations import (
    ExplanationScore,
    load_neuronpedia_explanations,
    neuronpedia_upload_fields,
    results_of_neuronpedia,
    save_explanations,
    save_neuronpedia_explanations,
    scored_explanation,
)
from neuron_explainer.explanations.many.openai_files import explanations_to_json

NAMES = {"model": "gpt2-small", "source": "{layer}-res-jb", "method": "np_max-act"}


def results(layer: int, index: int, *texts: str) -> NeuronSimulationResults:
    return NeuronSimulationResults(
        ne.NeuronId(layer, index), [ScoredExplanation(text, Scores(0.5), []) for text in texts]
    )


# OpenAI's files


def test_a_file_is_written_as_it_was_read(tmp_path):
    content = json.dumps(PRESENT).encode()
    read = explanations_from_json(content)
    path = save_explanations(read, tmp_path)
    assert path == tmp_path / "3" / "7.jsonl"
    assert ne.load_explanations(tmp_path, "L3N7") == read
    written = json.loads(path.read_text())
    assert path.read_text().count("\n") == 1
    simulation = written["scored_explanations"][0]["scored_simulation"]["scored_sequence_simulations"][0]
    expected = PRESENT["scored_explanations"][0]["scored_simulation"]["scored_sequence_simulations"][0]
    del simulation["dataclass_name"]
    for each in (simulation["sequence_simulation"], simulation["sequence_simulation"]["uncalibrated_simulation"]):
        assert each.pop("dataclass_name") == "SequenceSimulation"
    assert simulation == expected | {"rsquared_score": None}


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def any_results(draw) -> NeuronSimulationResults:
    def scores() -> Scores:
        return Scores(*(draw(st.none() | NUMBERS) for _ in range(3)))

    def sequence() -> ScoredSequenceSimulation:
        tokens = draw(st.lists(TEXTS, max_size=4))
        expected, real = ([draw(each) for _ in tokens] for each in (st.none() | NUMBERS, NUMBERS))
        inner = SequenceSimulation(tokens, expected, draw(st.none() | TEXTS)) if draw(st.booleans()) else None
        return ScoredSequenceSimulation(
            SequenceSimulation(tokens, expected, "neuron_activations", [[1.5]], [[1.0]], inner), real, scores()
        )

    several = [
        ScoredExplanation(draw(TEXTS), scores(), [sequence() for _ in range(draw(st.integers(0, 2)))])
        for _ in range(draw(st.integers(0, 2)))
    ]
    return NeuronSimulationResults(ne.NeuronId(draw(st.integers(0, 99)), draw(st.integers(0, 99_999))), several)


@given(any_results())
@property_settings(60)
def test_what_is_written_is_read_again(given_results):
    assert explanations_from_json(explanations_to_json(given_results)) == given_results


def test_halves_of_surrogates_become_escapes():
    written = explanations_to_json(results(0, 1, "a\ud800b"))
    assert explanations_from_json(written).scored_explanations[0].explanation == "a\\ud800b"


# A score as simulations


def judgements(*columns: str) -> pandas.DataFrame:
    rows = [
        (0, 0, "the", 0.0, -1.0, 0.5),
        (0, 1, " cat", 8.0, 3.0, 2.5),
        (1, 0, "a", math.nan, math.nan, 0.0),
        (1, 1, " dog", 2.0, 0.0, 1.0),
        (1, 2, "!", 0.0, -1.0, -0.5),
    ]
    frame = pandas.DataFrame(rows, columns=["text", "position", "token", "simulated", "calibrated", "real"])
    return frame.drop(columns=list(columns)).sample(frac=1, random_state=0)


def score_of(frame: pandas.DataFrame) -> ExplanationScore:
    return ExplanationScore("animals", "L2N5", "simulation", "correlation", 0.9, judgements=frame)


def test_a_calibrated_simulation():
    found = scored_explanation(score_of(judgements()))
    first, second = (each.sequence_simulation for each in found.sequences)
    assert (first.tokens, first.expected_activations) == (["the", " cat"], [-1.0, 3.0])
    assert first.activation_scale == "neuron_activations"
    assert first.uncalibrated_simulation == SequenceSimulation(
        ["the", " cat"], [0.0, 8.0], "simulated_normalized_activations"
    )
    assert second.expected_activations == [None, 0.0, -1.0]
    assert found.sequences[1].true_activations == [0.0, 1.0, -0.5]
    real, expected = np.array([0.5, 2.5, 1.0, -0.5]), np.array([-1.0, 3.0, 0.0, -1.0])  # without the unknown one
    assert found.scores.ev_correlation_score == pytest.approx(np.corrcoef(real, expected)[0, 1])
    assert found.scores.rsquared_score == pytest.approx(1 - np.mean((real - expected) ** 2) / np.var(real))
    deviation = np.mean(np.abs(real - real.mean()))
    assert found.scores.absolute_dev_explained_score == pytest.approx(1 - np.mean(np.abs(real - expected)) / deviation)
    assert found.sequences[0].scores.ev_correlation_score == pytest.approx(1.0)


def test_a_simulation_in_the_simulators_own_unit(tmp_path):
    uncalibrated = judgements("calibrated")
    found = scored_explanation(score_of(uncalibrated))
    assert found == scored_explanation(score_of(judgements().assign(calibrated=math.nan)))
    assert found.sequences[0].sequence_simulation == SequenceSimulation(
        ["the", " cat"], [0.0, 8.0], "simulated_normalized_activations"
    )
    both = NeuronSimulationResults(ne.NeuronId(2, 5), [found])
    save_explanations(both, tmp_path)
    assert ne.load_explanations(tmp_path, "L2N5") == both


def test_what_is_constant_has_no_correlation():
    found = scored_explanation(score_of(judgements("calibrated").assign(simulated=1.0)))
    assert found.scores.ev_correlation_score is None
    assert found.scores.rsquared_score is not None


def test_a_score_of_something_else_is_refused():
    with pytest.raises(InvalidRequestError, match="is not of a simulation"):
        scored_explanation(replace(score_of(judgements()), judgements=pandas.DataFrame({"text": ["a"]})))


# Neuronpedia's rows


def test_rows_are_written_and_read(tmp_path):
    several = [results(5, 0, "names", "a <b>\u202e"), results(6, 31, "=1+1, é")]
    (path,) = save_neuronpedia_explanations(several, tmp_path, **NAMES, explainer="judge-1")
    assert path == tmp_path / "explanations" / "batch-0.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert json.loads(lines[0]) == {
        "modelId": "gpt2-small",
        "layer": "5-res-jb",
        "index": "0",
        "description": "names",
        "typeName": "np_max-act",
        "explanationModelName": "judge-1",
    }
    assert (
        path.read_bytes()
        == save_neuronpedia_explanations(several, tmp_path, **NAMES, explainer="judge-1")[0].read_bytes()
    )
    table = load_neuronpedia_explanations(tmp_path)
    assert table[["layer", "index", "explanation"]].values.tolist() == [
        [5, 0, "names"],
        [5, 0, "a <b>\\u202e"],
        [6, 31, "=1+1, é"],
    ]
    assert table["explainer"].unique().tolist() == ["judge-1"]
    again = results_of_neuronpedia(table)
    assert [each.neuron_id for each in again] == [ne.NeuronId(5, 0), ne.NeuronId(6, 31)]
    save_explanations(again[0], tmp_path / "openai")
    assert list(ne.component("tiny", "L2N5", explanations=str(tmp_path / "openai")).explanations) == []


def test_many_components_are_in_several_batches(tmp_path):
    several = [results(0, index, f"text {index}") for index in range(2_050)]
    paths = save_neuronpedia_explanations(several, tmp_path, model="m", source="0-set", method="t")
    assert [path.name for path in paths] == [f"batch-{number}.jsonl.gz" for number in range(3)]
    assert load_neuronpedia_explanations(tmp_path / "explanations")["index"].tolist() == list(range(2_050))
    assert len(load_neuronpedia_explanations(paths[2])) == 2


def test_rows_as_others_write_them(tmp_path):
    row = {"modelId": "m", "layer": "res", "index": 3, "description": "x", "embedding": [0.1] * 256, "authorId": None}
    scores = [{"value": 0.75, "explanationScoreTypeName": "recall_alt", "jsonDetails": "{}"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(row | {"scores": scores}), "", json.dumps(row)]))
    table = load_neuronpedia_explanations(path)
    assert table["score"].tolist()[0] == 0.75
    assert math.isnan(table["score"].tolist()[1])
    assert table["layer"].isna().all()
    assert results_of_neuronpedia(table) == []


@pytest.mark.parametrize(
    "content",
    [
        b'{"modelId": "m"}',
        b'{"modelId": "m", "layer": "0-x", "index": "-1", "description": "x"}',
        b'{"modelId": "m", "layer": "0-x", "index": "99999999999", "description": "x"}',
        b'{"modelId": "m", "layer": 0, "index": "1", "description": "x"}',
        b"[" * 50_000,
        b"\xff\xfe",
        b"<html>",
    ],
)
def test_malformed_rows(content, tmp_path):
    for path, written in (("a.jsonl", content), ("a.jsonl.gz", gzip.compress(content))):
        (tmp_path / path).write_bytes(written)
        with pytest.raises(MalformedRecordError, match="line 1: "):
            load_neuronpedia_explanations(tmp_path / path)


def test_layers_are_numbers_in_usual_digits_and_tables_of_other_things_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"modelId": "m", "layer": "٣-x", "index": "1", "description": "d"}\n')
    assert load_neuronpedia_explanations(path)["layer"].isna().all()
    for row in ((1.5, 2, "d"), (1, math.nan, "d"), (1, 2, math.nan), (1, 2, None)):
        table = pandas.DataFrame([row], columns=["layer", "index", "explanation"], dtype=object)
        with pytest.raises(InvalidRequestError, match="Give whole numbers and texts"):
            results_of_neuronpedia(table)


def test_a_bomb_and_a_damaged_file(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"0" * 100_000_000))
    with pytest.raises(MalformedRecordError, match="too large"):
        load_neuronpedia_explanations(path)
    for damaged in (b"no gzip", gzip.compress(b"{}" * 100)[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(MalformedRecordError):
            load_neuronpedia_explanations(path)
    with pytest.raises(MissingFileError):
        load_neuronpedia_explanations(tmp_path)
    with pytest.raises(MissingFileError):
        load_neuronpedia_explanations(tmp_path / "none.jsonl")


def test_fields_of_an_upload():
    fields = neuronpedia_upload_fields(results(5, 0, "names", "x" * 512), method="m", explainer="judge-1")
    assert fields[0] == {"text": "names", "methodName": "m", "modelName": "judge-1"}
    with pytest.raises(InvalidRequestError, match="513 characters"):
        neuronpedia_upload_fields(results(5, 0, "x" * 513), method="m")


@pytest.mark.parametrize(
    ("several", "changes", "named"),
    [
        ([results(0, 1, "a"), results(1, 1, "a")], {"source": "0-x"}, "layer"),
        ([results(0, 1, "a")], {"model": " "}, "model is empty"),
        (results(0, 1, "a"), {}, "Give a list"),
        (["a"], {}, "each of results"),
    ],
)
def test_wrong_arguments(several, changes, named, tmp_path):
    with pytest.raises(InvalidRequestError, match=named):
        save_neuronpedia_explanations(several, tmp_path, **(NAMES | changes))
    assert list(tmp_path.iterdir()) == []


def test_cells_are_no_formulas():
    content = csv_files.csv_bytes(["-a"], [["@x"], [-1.5], ["\x1b[31m"], ["a,b"]])
    assert content == b"'-a\r\n'@x\r\n-1.5\r\n\\x1b[31m\r\n\"a,b\"\r\n"
