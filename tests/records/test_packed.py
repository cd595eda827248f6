"""The packed layout: what is written is read, slice by slice, and a hostile file is refused."""

import dataclasses
import json
import os
import struct
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from helpers.neuron_records import INFO, TOKENS
from helpers.packed_layers import examples, layer_by_token
from helpers.property_tests import property_settings
from neuron_explainer.activations.activations import (
    ActivationRecord,
    Histogram,
    NeuronId,
    NeuronRecord,
    load_neuron,
    neuron_exists,
    save_neuron,
)
from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset
from neuron_explainer.activations.packed.layer_file import PackedLayerFile
from neuron_explainer.activations.packed.layout import PackedExamples, PackedLayer, layer_file_name
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.errors import (
    InvalidRequestError,
    MalformedDatasetError,
    MissingFileError,
    NeuronExplainerError,
    NeuronNotFoundError,
)
from neuron_explainer.storage import tensor_views
from neuron_explainer.storage.local import opened_file

EXPECTED = [
    NeuronRecord(
        NeuronId(1, 0),
        most_positive_activation_records=[
            ActivationRecord(["b", "c", "d"], [0.0, 0.25, 0.5]),
            ActivationRecord(["f", "g", "a"], [0.75, 1.0, 1.25]),
        ],
        random_sample=[ActivationRecord(["g", "a"], [-1.0, -2.0])],
        random_sample_by_quantile=[
            [ActivationRecord(["a"], [0.0])],
            [ActivationRecord(["f"], [2.0]), ActivationRecord(["f"], [3.0])],
        ],
        quantile_boundaries=[0.5],
        mean=0.125,
        variance=1.0,
        skewness=-2.0,
        kurtosis=3.5,
        activation_frequency=0.25,
        histogram=Histogram([0.0, 1.0, 2.0], [1, 2]),
    ),
    NeuronRecord(
        NeuronId(1, 1),
        most_positive_activation_records=[ActivationRecord(["f"], [1.5])],
        random_sample_by_quantile=[[], [ActivationRecord(["a"], [6.0]), ActivationRecord(["a"], [7.0])]],
        quantile_boundaries=[1.5],
        variance=0.0,
        histogram=Histogram([0.0, 10.0, 20.0], [3, 4]),
    ),
]


@pytest.fixture
def folder(tmp_path):
    write_packed_dataset_info(tmp_path, INFO, TOKENS)
    write_packed_layer(tmp_path, 1, layer_by_token())
    return tmp_path


def test_written_layers_are_read(folder):
    dataset = PackedDataset.open(folder)
    assert dataset.info == INFO
    assert f"layers 1–2, 2 components each, in {folder}>" in repr(dataset)
    assert dataset.token_strings == TOKENS
    assert dataset.n_components(1) == 2
    assert [dataset.record(1, index) for index in range(2)] == EXPECTED
    assert dataset.record(1, 0).source == str(folder / "layer_1.safetensors")
    assert sorted(os.listdir(folder)) == ["dataset.json", "layer_1.safetensors", "tokens.json"]


def test_load_neuron_detects_the_layout(folder, tmp_path_factory):
    assert is_packed_dataset(folder)
    assert load_neuron(folder, 1, 0) == EXPECTED[0]
    assert neuron_exists(folder, 1, 1)
    assert [neuron_exists(folder, *place) for place in ((1, 2), (2, 0), (0, 0), (9, 0))] == [False] * 4
    json_folder = tmp_path_factory.mktemp("json")
    save_neuron(json_folder, EXPECTED[1])
    assert not is_packed_dataset(json_folder)
    assert load_neuron(json_folder, 1, 1) == EXPECTED[1]
    with pytest.raises(InvalidRequestError, match="packed"):
        save_neuron(folder, EXPECTED[0])


def test_small_integers_and_missing_parts(folder):
    layer = layer_by_token()
    small = dataclasses.replace(
        layer,
        sequences=layer.sequences.astype(np.int16),
        sequence_lengths=layer.sequence_lengths.astype(np.int16),
        quantile=None,
        quantile_boundaries=None,
        activation_frequency=None,
        histogram_counts=None,
        histogram_edges=None,
    )
    write_packed_layer(folder, 2, small)
    record = PackedDataset.open(folder).record(2, 0)
    assert record.most_positive_activation_records == EXPECTED[0].most_positive_activation_records
    assert (record.random_sample_by_quantile, record.quantile_boundaries) == (None, None)
    assert (record.activation_frequency, record.histogram) == (None, None)


@pytest.mark.parametrize(("window", "activations"), [(None, [1, 2, 3, 4, 5, 6]), (2, [1, 2, 3, 5, 6])])
def test_token_pairs(tmp_path, window, activations):
    info = msgspec.structs.replace(INFO, is_by_token_pair=True, attended_window=window, n_components=1)
    write_packed_dataset_info(tmp_path, info, TOKENS)
    padded = np.array([[activations + [9] * (6 - len(activations)), [7] * 6]])
    packed = examples([[0, 1]], [[2, 2]], [[3, 1]], padded)
    layer = PackedLayer(
        sequences=layer_by_token().sequences,
        sequence_lengths=np.array([5, 3], np.int32),
        top=packed,
        random=examples(np.zeros((1, 0)), np.zeros((1, 0)), np.zeros((1, 0)), np.zeros((1, 0, 1))),
        moments=np.zeros((1, 4)),
    )
    write_packed_layer(tmp_path, 1, layer)
    record = load_neuron(tmp_path, 1, 0)
    assert record.most_positive_activation_records == [
        ActivationRecord(["c", "d", "e"], [float(value) for value in activations]),
        ActivationRecord(["a"], [7.0]),
    ]
    assert record.is_by_token_pair
    assert record.random_sample == []


@pytest.mark.parametrize(("place", "range_"), [((1, 2), "0–1"), ((0, 0), "1–2"), ((3, 0), "1–2"), ((2, 0), "2")])
def test_out_of_range_names_the_range(folder, place, range_):
    with pytest.raises(NeuronNotFoundError, match=range_) as caught:
        load_neuron(folder, *place)
    assert isinstance(caught.value, IndexError)
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(NeuronNotFoundError):
        PackedDataset.open(folder).record(1, -1)


def test_a_rewritten_layer_is_read_again(folder):
    assert load_neuron(folder, 1, 0).mean == 0.125
    layer = layer_by_token()
    write_packed_layer(folder, 1, dataclasses.replace(layer, moments=layer.moments + 1))
    assert load_neuron(folder, 1, 0).mean == 1.125


def changed(**changes) -> PackedLayer:
    return dataclasses.replace(layer_by_token(), **changes)


def top_with(**changes) -> PackedLayer:
    return changed(top=dataclasses.replace(layer_by_token().top, **changes))


INT = np.int32
NOT_KEEPING_THE_RULES = {
    "moments of another shape": (changed(moments=np.zeros((2, 3))), "moments"),
    "moments of another dtype": (changed(moments=np.zeros((2, 4), np.float32)), "float64"),
    "more components": (changed(moments=np.zeros((3, 4))), "moments"),
    "another context": (changed(sequences=np.zeros((2, 6), INT)), "sequences"),
    "more lengths than sequences": (changed(sequence_lengths=np.zeros(3, INT)), "sequence_lengths"),
    "a sequence longer than the context": (changed(sequence_lengths=np.array([6, 3], INT)), "length"),
    "an unknown token": (changed(sequences=np.full((2, 5), 7, INT)), "token id"),
    "a negative token": (changed(sequences=np.full((2, 5), -1, INT)), "token id"),
    "an unknown sequence": (top_with(sequence=np.full((2, 2), 2, INT)), "sequence"),
    "a window beyond its sequence": (top_with(start=np.full((2, 2), 3, INT)), "window"),
    "a window before its sequence": (top_with(start=np.full((2, 2), -1, INT)), "window"),
    "an empty window": (top_with(length=np.zeros((2, 2), INT)), "window"),
    "a window that overflows": (
        top_with(start=np.full((2, 2), 2**31 - 1, INT), length=np.full((2, 2), 2**31 - 1, INT)),
        "window",
    ),
    "fewer activations than tokens": (
        top_with(activations=np.zeros((2, 2, 2), np.float16)),
        r"too few activations \(2\)",
    ),
    "wider than a sequence": (top_with(activations=np.zeros((2, 2, 6), np.float16)), "more than 5 activations"),
    "an infinite activation": (top_with(activations=np.full((2, 2, 3), np.inf, np.float16)), "finite"),
    "activations of another dtype": (top_with(activations=np.zeros((2, 2, 3))), "float16"),
    "boundaries without examples": (changed(quantile=None), "quantile"),
    "examples without boundaries": (changed(quantile_boundaries=None), "quantile_boundaries"),
    "counts without edges": (changed(histogram_edges=None), "histogram_edges"),
    "edges without counts": (changed(histogram_counts=None), "histogram_counts"),
    "as many edges as counts": (changed(histogram_edges=np.zeros((2, 2), np.float32)), "histogram_edges"),
    "an edge that is NaN": (changed(histogram_edges=np.full((2, 3), np.nan, np.float32)), "histogram_edges"),
}


@pytest.mark.parametrize(("layer", "problem"), NOT_KEEPING_THE_RULES.values(), ids=NOT_KEEPING_THE_RULES)
def test_invalid_layers_are_not_written(folder, layer, problem):
    with pytest.raises(InvalidRequestError, match=problem):
        write_packed_layer(folder, 2, layer)
    assert not (folder / "layer_2.safetensors").exists()


@pytest.mark.parametrize(("layer", "problem"), NOT_KEEPING_THE_RULES.values(), ids=NOT_KEEPING_THE_RULES)
def test_invalid_layers_are_not_read(folder, layer, problem):
    save_file(layer.tensors(), folder / "layer_1.safetensors")
    with pytest.raises(MalformedDatasetError) as caught:
        [load_neuron(folder, 1, index) for index in range(2)]
    assert str(folder) in str(caught.value)


def test_uncovered_layers_are_not_written(folder):
    with pytest.raises(InvalidRequestError, match="covers the layers 1–2"):
        write_packed_layer(folder, 3, layer_by_token())


@pytest.mark.parametrize(
    "changes",
    [
        {"n_layers": 0},
        {"n_components": 0},
        {"n_layers": 2**63},
        {"n_components": 2**31},
        {"context_length": -1},
        {"layer_indices": [4]},
        {"layer_indices": [1, 1]},
        {"layer_indices": [-1]},
        {"attended_window": 3},
        {"is_by_token_pair": True, "attended_window": 0},
        {"format_version": 2},
    ],
)
def test_an_info_that_contradicts_itself(tmp_path, changes):
    info = msgspec.structs.replace(INFO, **changes)
    with pytest.raises(InvalidRequestError):
        write_packed_dataset_info(tmp_path, info, TOKENS)
    (tmp_path / "dataset.json").write_bytes(msgspec.json.encode(info))
    with pytest.raises(MalformedDatasetError, match=r"dataset\.json"):
        PackedDataset.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"[" * 100_000, b'{"model": NaN}', b"\xff"])
@pytest.mark.parametrize("name", ["dataset.json", "tokens.json"])
def test_invalid_json_files(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(MalformedDatasetError, match=name):
        PackedDataset.open(folder).record(1, 0)


def test_a_missing_dataset(tmp_path):
    with pytest.raises(MissingFileError, match=r"dataset\.json"):
        PackedDataset.open(tmp_path)


VALID_FILE = save(layer_by_token().tensors())


@property_settings(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_read_or_refused(folder, data):
    content = bytearray(VALID_FILE)
    (header_length,) = struct.unpack("<Q", content[:8])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(0, header_length))
        content[place : place + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=4))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    (folder / "layer_1.safetensors").write_bytes(content)
    dataset = PackedDataset.open(folder)
    for index in range(2):
        try:
            dataset.record(1, index)
        except NeuronExplainerError as error:
            assert isinstance(error, MalformedDatasetError)  # noqa: PT017


def test_a_record_that_would_fill_the_memory_is_refused(folder):
    """A sparse file of many terabytes whose header describes huge records."""
    tensors = layer_by_token().tensors()
    n_examples = 90_000
    for part in ("sequence", "start", "length"):
        tensors[f"top_{part}"] = np.zeros((2, n_examples), INT)
    tensors["top_activations"] = np.zeros((2, n_examples, 1), np.float16)
    save_file(tensors, folder / "layer_1.safetensors")
    content = (folder / "layer_1.safetensors").read_bytes()
    (header_length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + header_length])
    info = msgspec.structs.replace(INFO, context_length=5000, is_by_token_pair=True)
    (folder / "dataset.json").write_bytes(msgspec.json.encode(info))
    tensors["sequences"] = np.zeros((2, 5000), INT)
    end = 0
    for name, array in tensors.items():
        shape = [2, n_examples, 10**7] if name == "top_activations" else list(array.shape)
        size = int(np.prod(shape)) * array.dtype.itemsize
        header[name] |= {"shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "layer_1.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        try:
            file.truncate(8 + len(text) + end)
        except OSError:
            pytest.skip("this file system makes no files of several terabytes")
    with pytest.raises(MalformedDatasetError):
        load_neuron(folder, 1, 0)


def test_a_layers_file_is_opened_once(folder, monkeypatch):
    opened = []

    def counted(path):
        opened.append(path)
        return opened_file(path)

    monkeypatch.setattr(tensor_views, "opened_file", counted)
    info = PackedDataset.open(folder).info
    layer = info.layer_indices[0]
    PackedLayerFile(folder / layer_file_name(layer), layer, info, TOKENS)
    assert len(opened) == 1


def test_reading_is_by_slices(tmp_path):
    """Reading one record from a file of 200 MB needs little memory."""
    n_components, n_examples, width = 20_000, 20, 256
    info = msgspec.structs.replace(INFO, n_components=n_components, context_length=width)
    write_packed_dataset_info(tmp_path, info, TOKENS)
    zeros = np.zeros((n_components, n_examples), np.int32)
    packed = PackedExamples(zeros, zeros, zeros + 9, np.zeros((n_components, n_examples, width), np.float16))
    layer = PackedLayer(
        sequences=np.zeros((10, width), np.int32),
        sequence_lengths=np.full(10, width, np.int32),
        top=packed,
        random=dataclasses.replace(
            packed, **{part: getattr(packed, part)[:, :1] for part in ("sequence", "start", "length", "activations")}
        ),
        moments=np.zeros((n_components, 4)),
    )
    write_packed_layer(tmp_path, 1, layer)
    code = (
        "import resource, sys\n"
        "from neuron_explainer.activations.activations import load_neuron\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"record = load_neuron({str(tmp_path)!r}, 1, 12345)\n"
        "print(len(record.most_positive_activation_records))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n_read, kilobytes = map(int, result.stdout.split())
    assert n_read == n_examples
    assert os.path.getsize(tmp_path / "layer_1.safetensors") > 200_000_000
    assert kilobytes < 20_000


def test_the_file_is_plain_safetensors(folder):
    tensors = load_file(folder / "layer_1.safetensors")
    assert tensors["top_activations"].shape == (2, 2, 3)
    assert set(tensors) == set(layer_by_token().tensors())
