"""Files that can be read but may not mean what their user thinks: a warning names what was found and expected."""

import json
import shutil
import warnings

import pytest

import neuron_explainer as ne
from helpers.neuron_records import as_bytes, neuron_record, public_json
from neuron_explainer.activations.activations import load_neuron, save_neuron
from neuron_explainer.activations.record_json import record_from_json
from neuron_explainer.errors import MalformedDatasetError
from neuron_explainer.notices import UnexpectedContentWarning

RECORD = neuron_record(3, 7)
FIELDS = public_json(RECORD)


def renamed(old: str, new: str) -> bytes:
    return as_bytes({new if name == old else name: value for name, value in FIELDS.items()})


def test_a_record_of_another_neuron(tmp_path):
    saved = save_neuron(tmp_path, RECORD)
    shutil.copy(saved, saved.parent / "8.json")
    shutil.copytree(saved.parent, tmp_path / "4")
    for layer, neuron in ((3, 8), (4, 7)):
        said = f"neuron 7 in layer 3; asked for was neuron {neuron} in layer {layer}"
        with pytest.warns(UnexpectedContentWarning, match=said):
            assert load_neuron(tmp_path, layer, neuron) == RECORD
        with pytest.warns(UnexpectedContentWarning, match=said):
            assert ne.load_neurons([(layer, neuron)], tmp_path, progress=False).records == [RECORD]


def test_explanations_of_another_neuron(tmp_path):
    results = {"neuron_id": {"layer_index": 3, "neuron_index": 7}, "scored_explanations": []}
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "8.jsonl").write_text(json.dumps(results))
    with pytest.warns(UnexpectedContentWarning, match="neuron 7 in layer 3; asked for was neuron 8 in layer 3"):
        ne.load_explanations(tmp_path, 3, 8)


@pytest.mark.parametrize(
    ("field", "misspelt"),
    [
        ("most_positive_activation_records", "most_positive_activation_record"),
        ("random_sample", "random_samples"),
        ("random_sample_by_quantile", "randomSampleByQuantile"),
    ],
)
def test_a_misspelt_field(field, misspelt):
    with pytest.warns(UnexpectedContentWarning, match=f"'{misspelt}', which is left out. Did you mean: {field}"):
        record_from_json(renamed(field, misspelt))
    with pytest.warns(UnexpectedContentWarning, match=misspelt):
        record_from_json(renamed(field, misspelt).replace(b'"variance": 2.5', b'"variance": NaN'))


def test_other_unknown_fields_are_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record_from_json(as_bytes({**FIELDS, "comment": "x", "means": [1], "random_samples": 1, "x" * 100_000: 1}))


def test_the_file_of_another_layer(tmp_path):
    ne.convert("tiny", tmp_path / "json", dst="attn_write_norm", layout="json")
    ne.convert(tmp_path / "json", tmp_path / "packed", layout="packed")
    assert load_neuron(tmp_path / "packed", 1, 0) == load_neuron(tmp_path / "json", 1, 0)
    shutil.copy(tmp_path / "packed" / "layer_1.safetensors", tmp_path / "packed" / "layer_0.safetensors")
    with pytest.raises(MalformedDatasetError, match="it is the file of layer 1, not of layer 0"):
        load_neuron(tmp_path / "packed", 0, 0)
