"""Any bytes give a record, or a MalformedRecordError that names the file and the problem."""

import json
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.neuron_records import as_bytes, neuron_record, public_json
from helpers.property_tests import property_settings
from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.record_json import record_from_json, record_to_json
from neuron_explainer.errors import MalformedRecordError
from neuron_explainer.notices import UnexpectedContentWarning

VALID = as_bytes(public_json(neuron_record(3, 7)))
VALID_BY_PAIR = as_bytes(public_json(neuron_record(3, 7, by_pair=True, window=3)))


def with_(**changes) -> bytes:
    return as_bytes(public_json(neuron_record(3, 7)) | changes)


def with_example(tokens, activations) -> bytes:
    return with_(random_sample=[{"tokens": tokens, "activations": activations}])


def with_id(**neuron_id) -> bytes:
    return with_(neuron_id=neuron_id)


BROKEN = {
    "empty": (b"", "empty"),
    "spaces": (b" \n", "empty"),
    "cut": (VALID[: len(VALID) // 2], "truncated"),
    "xml": (b'<?xml version="1.0"?><Error><Code>BlobNotFound</Code></Error>', "HTML or XML"),
    "html": (b"\n<!DOCTYPE html><html></html>", "HTML or XML"),
    "array": (b"[1,2,3]", "array"),
    "null": (b"null", "null"),
    "no UTF-8": (b"\xff\xfe bad", "byte 0"),
    "no UTF-8 in a token": (VALID.replace(b"brown", b"br\xffwn"), "utf-8"),
    "something after it": (VALID + b"{}", "trailing"),
    "another class": (with_(dataclass_name="NeuronSimulationResults"), "NeuronSimulationResults"),
    "no id": (as_bytes({"random_sample": []}), "neuron_id"),
    "no layer": (with_id(neuron_index=1), "lacks the layer"),
    "no neuron": (with_id(layer_index=1), "lacks the neuron"),
    "two neurons": (with_id(layer_index=1, neuron_index=1, idx=2), "two neurons"),
    "a layer that is no number": (with_id(layer_index="last", neuron_index=1), "'last'"),
    "a layer of other digits": (with_id(layer_index="٣", neuron_index=1), "layer"),
    "a negative layer": (with_id(layer_index=-1, neuron_index=1), "-1"),
    "a fraction of a neuron": (with_id(layer_index=1, neuron_index=1.5), "float"),
    "a true neuron": (with_id(layer_index=1, neuron_index=True), "bool"),
    "a huge neuron": (with_id(layer_index=1, neuron_index=10**30), "neuron"),
    "a gigantic neuron": (with_id(layer_index=1, neuron_index="9" * 5000), "neuron"),
    "too few activations": (with_example(["a", "b"], [1.0]), "tokens (2) and activations (1)"),
    "too many activations": (with_example(["a", "b"], [1.0] * 4), "tokens (2) and activations (4)"),
    "no triangular packing": (with_example(["a"] * 15, [1.0] * 17), "tokens (15) and activations (17)"),
    "an activation that is text": (with_example(["a"], ["1"]), "random_sample[0].activations[0]"),
    "an activation that is null": (with_example(["a"], [None]), "null"),
    "an activation that is NaN": (with_example(["a", "b"], [1.0, float("nan")]), "activation 1 is nan"),
    "an activation that is infinite": (with_example(["a", "b"], [float("-inf"), 1.0]), "activation 0 is -inf"),
    "an activation beyond floats": (VALID.replace(b"19.0", b"1e999"), "out of range"),
    "an activation far beyond floats": (VALID.replace(b"19.0", b"9" * 5000), "out of range"),
    "a token that is a number": (with_example([1], [1.0]), "`str`"),
    "half of a surrogate pair": (with_example(["\ud800"], [1.0]), "surrogate"),
    "half of a surrogate pair beside a NaN": (
        as_bytes(json.loads(with_example(["\ud800"], [1.0])) | {"mean": float("nan")}),
        "surrogate",
    ),
    "by token and by pair": (
        with_(random_sample=[{"tokens": ["a", "b"], "activations": [1.0, 2.0, 3.0]}]),
        "token pair",
    ),
    "a mean that is text": (with_(mean="1"), "mean"),
    "a histogram that goes back": (with_(histogram={"edges": [0, 2, 1], "counts": [1, 1]}), "ascend"),
    "a boundary that is NaN": (with_(quantile_boundaries=[float("nan")]), "boundary"),
    "no list": (with_(most_positive_activation_records={}), "most_positive_activation_records"),
    "nested without end": (b'{"x":' * 100_000, "nested"),
    "nested deeply": (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested"),
    "nested deeply with a NaN": (b'{"y": NaN, "x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested"),
    "a NaN and a gigantic number": (b'{"y": NaN, "x": ' + b"9" * 10_000 + b"}", "out of range"),
    "a NaN where none can be": (b"NaN", "float"),
    "an open string": (b'{"x": "' + b"a" * 1000, "truncated"),
}


@pytest.mark.parametrize(("content", "problem"), BROKEN.values(), ids=BROKEN)
def test_the_error_names_the_problem(content, problem, tmp_path):
    path = tmp_path / "0" / "1.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(MalformedRecordError) as caught:
        load_neuron(tmp_path, 0, 1)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.source == str(path)
    assert str(path) in str(error)
    assert problem.lower() in error.problem.lower()
    assert len(str(error)) < 1000
    with pytest.raises(MalformedRecordError) as caught:
        record_from_json(content)
    assert caught.value.source is None


def test_nesting_is_refused_at_any_recursion_limit():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with pytest.raises(MalformedRecordError):
            record_from_json(b'{"y": NaN, "x":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    finally:
        sys.setrecursionlimit(limit)


def read_or_refuse(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnexpectedContentWarning)  # said of a field whose name has been changed
        try:
            record = record_from_json(content, "file")
        except MalformedRecordError:
            return
    assert record_from_json(record_to_json(record)) == record
    assert repr(record)


@property_settings(300)
@given(st.sampled_from([VALID, VALID_BY_PAIR]), st.data())
def test_changed_bytes_are_read_or_refused(valid, data):
    content = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 20))
        content[place : place + length] = data.draw(
            st.sampled_from(
                [b"", b"NaN", b"-Infinity", b"null", b"[", b"}", b'"', b"\\ud800", b"\xed\xa0\x80", b"1e999"]
            )
            | st.binary(max_size=8)
        )
    read_or_refuse(bytes(content))


@property_settings(200)
@given(st.sampled_from([VALID, VALID_BY_PAIR]), st.integers(0, 10**6))
def test_cut_bytes_are_refused(valid, length):
    length %= len(valid)
    with pytest.raises(MalformedRecordError):
        record_from_json(valid[:length], "file")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.sampled_from(["NeuronRecord", "NaN"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@property_settings(300)
@given(st.sampled_from([*sorted(public_json(neuron_record())), "activation_frequency", "histogram"]), VALUES)
def test_any_value_in_any_field_is_read_or_refused(name, value):
    read_or_refuse(as_bytes(public_json(neuron_record()) | {name: value}))


@property_settings(200)
@given(st.lists(st.floats() | st.integers(), max_size=4), st.lists(st.integers(), max_size=4))
def test_any_histogram_is_read_or_refused(edges, counts):
    read_or_refuse(with_(histogram={"edges": edges, "counts": counts}))


@property_settings(200)
@given(st.binary(max_size=200) | VALUES.map(as_bytes))
def test_any_bytes_are_read_or_refused(content):
    read_or_refuse(content)


@property_settings(200)
@given(st.lists(st.text(max_size=3), max_size=12), st.lists(st.floats(), max_size=12))
def test_any_example_is_read_or_refused(tokens, activations):
    read_or_refuse(with_example(tokens, activations))
