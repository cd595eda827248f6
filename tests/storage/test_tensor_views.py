"""Views of safetensors files, compared with the safetensors library."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save, save_file

from helpers.property_tests import property_settings
from neuron_explainer.errors import MissingFileError
from neuron_explainer.storage.tensor_views import tensor_metadata, tensor_views

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
)


@property_settings(100)
@given(st.dictionaries(st.text(max_size=5).filter(lambda name: name != "__metadata__"), ARRAYS, max_size=4))
def test_as_the_library_reads_it(tmp_path_factory, tensors):
    path = tmp_path_factory.getbasetemp() / "x.safetensors"
    path.write_bytes(save(tensors, metadata={"about": "x"}))
    views, metadata = tensor_views(path)
    assert metadata == tensor_metadata(path) == {"about": "x"}
    expected = load(path.read_bytes())
    assert set(views) == set(expected) == set(tensors)
    for name, view in views.items():
        np.testing.assert_array_equal(view, expected[name], strict=True)


def test_views_are_read_only_and_outlive_a_replaced_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.arange(6).reshape(2, 3)}, path)
    view = tensor_views(path)[0]["a"]
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    save_file({"a": np.zeros((2, 3))}, tmp_path / "new")
    (tmp_path / "new").replace(path)
    np.testing.assert_array_equal(view, np.arange(6).reshape(2, 3))


def file_of(header: object, body: bytes = bytes(24)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(dtype="I64", shape=(3,), start=0, end=24) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        file_of(b"not json"),
        file_of(b"[" * 100_000),
        file_of([]),
        file_of({"a": 1}),
        file_of(tensor("BF16", (12,))),
        file_of(tensor("I64", (4,))),
        file_of(tensor("I64", (2,))),
        file_of(tensor(shape=(-3,))),
        file_of(tensor(shape=(-1, -3))),
        file_of(tensor(shape=(10**30,))),
        file_of(tensor(shape=(0, 10**30), end=0)),
        file_of(tensor(shape=(1,) * 40, end=8)),
        file_of(tensor(shape=(0, 2**40, 2**40), end=0)),
        file_of(tensor(start=8, end=32)),
        file_of(tensor(start=-24, end=0)),
        file_of(tensor(start=24, end=0)),
        file_of(tensor(), body=bytes(23)),
        file_of(tensor(), body=b""),
        file_of(tensor() | {"__metadata__": 5}),
        file_of(tensor() | {"__metadata__": {"a": 5}}),
    ],
)
def test_invalid_files_are_value_errors(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as caught:
        tensor_views(path)
    assert len(str(caught.value)) < 300


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "x", tmp_path):
        with pytest.raises(MissingFileError):
            tensor_views(path)
