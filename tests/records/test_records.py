"""Neuron records: every spelling of their files, splits, tables, and round trips."""

import asyncio
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuron_explainer as ne
from helpers.neuron_records import as_bytes, example, neuron_record, public_json
from neuron_explainer.activations.activations import (
    ActivationRecord,
    ActivationRecordSliceParams,
    Histogram,
    NeuronId,
    NeuronRecord,
    load_neuron,
    load_neuron_async,
    neuron_exists,
    save_neuron,
)
from neuron_explainer.activations.record_json import record_from_json, record_to_json
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, MissingFileError, NeuronNotFoundError


def without_class_names(fields):
    if isinstance(fields, dict):
        return {name: without_class_names(value) for name, value in fields.items() if name != "dataclass_name"}
    return [without_class_names(each) for each in fields] if isinstance(fields, list) else fields


RECORDS = {
    "by token": neuron_record(),
    "by token pair": neuron_record(by_pair=True),
    "windowed": neuron_record(by_pair=True, window=4),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_public_spelling_is_read_and_written(record):
    content = as_bytes(public_json(record))
    assert record_from_json(content) == record
    assert json.loads(record_to_json(record)) == public_json(record)
    assert list(json.loads(record_to_json(record))) == list(public_json(record))  # in this order


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_older_files_have_no_class_names(record):
    assert record_from_json(as_bytes(without_class_names(public_json(record)))) == record


@pytest.mark.parametrize(
    "neuron_id",
    [
        {"idx": 7, "layer": "3"},
        {"idx": 7, "layer": 3},
        {"neuron_index": 7, "layer": "3"},
        {"neuron_index": 7, "layer_index": "3"},
        {"neuron_index": 7, "layer_index": 3, "layer": "3", "idx": 7},
    ],
)
def test_older_spellings_of_the_id(neuron_id):
    fields = public_json(neuron_record(3, 7)) | {"neuron_id": neuron_id}
    assert record_from_json(as_bytes(fields)).neuron_id == NeuronId(layer_index=3, neuron_index=7)


def test_unknown_statistics_are_none_however_they_are_written():
    fields = public_json(neuron_record())
    fields |= {"mean": math.nan, "variance": None, "skewness": -math.inf, "kurtosis": math.inf}
    del fields["random_sample_by_quantile"], fields["quantile_boundaries"]
    content = as_bytes(fields)
    assert b"NaN" in content
    record = record_from_json(content)
    assert (record.mean, record.variance, record.skewness, record.kurtosis) == (None,) * 4
    assert record.random_sample_by_quantile is None
    assert record.most_positive_activation_records == neuron_record().most_positive_activation_records
    assert b"NaN" not in record_to_json(record)
    assert record_from_json(record_to_json(record)) == record


def test_a_nan_beside_tokens_that_say_nan():
    fields = public_json(neuron_record()) | {"mean": math.nan}
    tokens = ["NaN", '"NaN', "\\", '\\"', "-Infinity", " Infinity"]
    fields["random_sample"] = [{"tokens": tokens, "activations": [1, 2, 3, 4, 5, 6]}]
    record = record_from_json(as_bytes(fields))
    assert record.random_sample == [ActivationRecord(tokens, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]
    assert record.mean is None


def test_unknown_fields_are_skipped_and_missing_ones_are_empty():
    fields = {"neuron_id": {"neuron_index": 7, "layer_index": 3, "x": 1}, "new": {"deep": [{"a": None}]}}
    assert record_from_json(as_bytes(fields)) == NeuronRecord(NeuronId(3, 7))


def test_frequency_and_histogram_round_trip():
    record = dataclasses.replace(
        neuron_record(), activation_frequency=0.25, histogram=Histogram(edges=[0.0, 0.5, 1.0], counts=[3, 0])
    )
    assert record_from_json(record_to_json(record)) == record


def test_every_character_round_trips(tmp_path):
    tokens = ["\0", "\x1b[0m", "\u2028", "\u202e", "\\xe2\\x80", "</script>", '"', "é", "👩‍👩‍👧", "שלום", "\ufffd"]
    record = NeuronRecord(NeuronId(0, 0), random_sample=[ActivationRecord(tokens, [0.0] * len(tokens))])
    save_neuron(tmp_path, record)
    assert load_neuron(tmp_path, 0, 0) == record


@pytest.mark.parametrize("value", [0.1, 1e300, 5e-324, -0.0, 1 / 3, 123456789.123456789])
def test_numbers_round_trip_exactly(value):
    record = NeuronRecord(NeuronId(0, 0), random_sample=[ActivationRecord(["a"], [value])], mean=value)
    again = record_from_json(record_to_json(record))
    assert again == record
    assert math.copysign(1, again.random_sample[0].activations[0]) == math.copysign(1, value)


def test_saving_and_loading(tmp_path):
    record = neuron_record(3, 7)
    assert not neuron_exists(tmp_path, 3, 7)
    path = save_neuron(tmp_path, record)
    assert path == tmp_path / "3" / "7.json"
    assert os.listdir(path.parent) == ["7.json"]
    for loaded in (
        load_neuron(tmp_path, 3, 7),
        load_neuron(str(tmp_path) + "/", "3", "7"),
        load_neuron(tmp_path, np.int64(3), 7),
    ):
        assert loaded == record
        assert loaded.source == str(path)
    assert asyncio.run(load_neuron_async(tmp_path, 3, 7)) == record
    assert neuron_exists(tmp_path, 3, 7)
    changed = dataclasses.replace(record, mean=9.0)
    save_neuron(tmp_path, changed)
    assert load_neuron(tmp_path, 3, 7) == changed != record


def test_missing_neurons_and_folders(tmp_path):
    save_neuron(tmp_path, neuron_record(3, 7))
    with pytest.raises(NeuronNotFoundError) as caught:
        load_neuron(tmp_path, 3, 8)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.status_code == 404
    assert "neuron 8 in layer 3" in caught.value.detail
    # For a missing folder, the error is about the folder, not the neuron.
    for function in (load_neuron, neuron_exists):
        with pytest.raises(MissingFileError, match="folder not found"):
            function(tmp_path / "nowhere", 3, 7)


@pytest.mark.parametrize("index", [-1, "../7", "7.json", "", "٣", 1.0, True, None, "9" * 30])
def test_invalid_indices_are_refused(tmp_path, index):
    for arguments in ((index, 0), (0, index)):
        for function in (load_neuron, neuron_exists):
            with pytest.raises(InvalidRequestError, match=re.escape(repr(index))):
                function(tmp_path, *arguments)


def test_records_are_not_written_to_addresses():
    with pytest.raises(InvalidRequestError, match="https://host/x"):
        save_neuron("https://host/x", neuron_record())
    with pytest.raises(InvalidRequestError, match=r"The order is save_neuron\(dataset_path, record\)"):
        save_neuron(neuron_record(), "x.json")  # type: ignore[arg-type]


def test_max_activation_is_that_of_the_top_examples():
    record = neuron_record()
    assert record.max_activation == 20.0 + 3 / 64  # the first top example has 4 tokens
    assert record.most_positive_activation_records[1].max_activation == 19.0 + 4 / 64
    assert NeuronRecord(NeuronId(0, 0)).max_activation is None
    assert (
        NeuronRecord(NeuronId(0, 0), most_positive_activation_records=[ActivationRecord([], [])]).max_activation is None
    )


def test_splits_are_interleaved_and_of_one_size():
    tops = [example(1, 100.0 + place) for place in range(11)]
    randoms = [example(1, -100.0 - place) for place in range(8)]
    record = NeuronRecord(NeuronId(0, 0), random_sample=randoms, most_positive_activation_records=tops)
    # 11 top examples make 2 for each of four splits, 8 random ones 2 for each of three
    assert record.train_activation_records() == [tops[0], tops[4]]
    assert record.calibration_activation_records() == [tops[1], tops[5], randoms[0], randoms[3]]
    assert record.valid_activation_records() == [tops[2], tops[6], randoms[1], randoms[4]]
    assert record.test_activation_records() == [tops[3], tops[7], randoms[2], randoms[5]]
    one = ActivationRecordSliceParams(n_examples_per_split=1)
    assert record.train_activation_records(one) == [tops[0]]
    assert record.test_activation_records(one) == [tops[3], randoms[2]]
    assert record.train_activation_records(ActivationRecordSliceParams(0)) == []
    with pytest.raises(InvalidRequestError, match="Choose 0 to 2"):
        record.train_activation_records(ActivationRecordSliceParams(3))


def test_examples_have_kind_bucket_and_position():
    record = neuron_record()
    named = list(record.examples())
    assert len(named) == 20 + 6 + 4
    assert [each[:3] for each in named if each[0] == "quantile"] == [
        ("quantile", 0, 0),
        ("quantile", 0, 1),
        ("quantile", 1, 0),
        ("quantile", 1, 1),
    ]
    assert named[0] == ("top", None, 0, record.most_positive_activation_records[0])


def test_a_table_by_token():
    record = dataclasses.replace(neuron_record(3, 7), source="somewhere")
    frame = record.to_dataframe()
    assert len(frame) == sum(len(each.tokens) for *_, each in record.examples())
    row = frame[(frame["kind"] == "quantile") & (frame["bucket"] == 1) & (frame["example"] == 1)].iloc[2]
    assert (row["layer"], row["neuron"], row["position"], row["token"]) == (3, 7, 2, " brown")
    assert row["activation"] == 1 + 1 / 8 + 2 / 64
    assert frame[frame["kind"] == "top"]["bucket"].isna().all()
    assert frame.attrs == {"source": "somewhere", "layer": 3, "neuron": 7, "by_token_pair": False}


def test_a_table_by_token_pair():
    record = NeuronRecord(
        NeuronId(1, 2),
        random_sample=[ActivationRecord(["a", "b", "c"], [1.0, 2.0, 3.0, 4.0, 5.0])],  # two tokens are attended to
    )
    frame = record.to_dataframe()
    pairs = frame[["token", "attended_token", "position", "attended_position", "activation"]]
    assert [tuple(row) for row in pairs.itertuples(index=False)] == [
        ("a", "a", 0, 0, 1.0),
        ("b", "a", 1, 0, 2.0),
        ("b", "b", 1, 1, 3.0),
        ("c", "a", 2, 0, 4.0),
        ("c", "b", 2, 1, 5.0),
    ]


def test_an_empty_table_has_its_columns():
    frame = NeuronRecord(NeuronId(1, 2)).to_dataframe()
    assert len(frame) == 0
    assert list(frame.columns) == list(neuron_record().to_dataframe().columns)


def test_the_repr_of_a_record():
    text = repr(neuron_record(3, 7, by_pair=True))
    assert "3:7" in text
    assert "20 top, 6 random, 4 quantile examples by token pair" in text
    assert "token pair" in text


def test_arrays_and_tuples_become_lists():
    record = ActivationRecord(("a", "b"), np.array([1, 2], dtype=np.float16))
    assert record == ActivationRecord(["a", "b"], [1.0, 2.0])
    assert type(record.activations[0]) is float
    of_numpy = ActivationRecord(np.array(["a", "b"]), list(np.array([1, 2], dtype=np.float32)))
    assert record_from_json(record_to_json(NeuronRecord(NeuronId(0, 0), [of_numpy]))).random_sample == [record]
    assert [type(value) for value in ActivationRecord(["a", "b"], [1, True]).activations] == [float, float]
    assert NeuronId(np.int32(1), np.int64(2)) == NeuronId(1, 2)


@pytest.mark.parametrize(
    ("tokens", "activations"),
    [
        (["a", "b"], [1.0]),
        (["a", "b"], [1.0, 2.0, 3.0, 4.0]),
        ([], [1.0]),
        (["a"], []),
        (["a"], [math.nan]),
        (["a", "b"], [math.inf, -math.inf]),
        (["a"], ["1.0"]),
        (["a"], ("one",)),
        (["a"], np.array([[1.0]])),
        ([1], [1.0]),
        (["\ud800"], [1.0]),
    ],
)
def test_an_example_that_contradicts_itself_is_refused(tokens, activations):
    with pytest.raises(MalformedRecordError):
        ActivationRecord(tokens, activations)


def test_large_activations_are_finite():
    assert ActivationRecord(["a", "b"], [1e308, 1e308]).max_activation == 1e308


def test_examples_by_token_and_by_pair_do_not_mix():
    with pytest.raises(MalformedRecordError, match="token pair"):
        NeuronRecord(NeuronId(0, 0), [example(4, by_pair=True)], most_positive_activation_records=[example(4)])
    # One token makes one pair, so an example of one token may be either.
    assert NeuronRecord(NeuronId(0, 0), [example(4, by_pair=True), example(1)]).is_by_token_pair


def test_looking_at_a_record_imports_no_torch(tmp_path):
    save_neuron(tmp_path, neuron_record(3, 7))
    heavy = ("torch", "pandas", "requests", "pydantic", "ipywidgets", "plotly", "IPython")
    code = (
        "import sys, neuron_explainer as ne\n"
        f"record = ne.load_neuron({str(tmp_path)!r}, 3, 7)\n"
        "assert record._repr_html_()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.skipif(
    "NEURON_EXPLAINER_RECORDS" not in os.environ,
    reason="NEURON_EXPLAINER_RECORDS names no folder of records (mlp, attn, legacy, broken) to check as well",
)
def test_a_folder_of_records_from_elsewhere():
    folder = Path(os.environ["NEURON_EXPLAINER_RECORDS"])
    counts: dict[str, int] = {}
    for path in sorted(folder.glob("*/*/*.json")):
        dataset, layer, _ = path.relative_to(folder).parts
        counts[dataset] = counts.get(dataset, 0) + 1
        if dataset == "broken":
            with pytest.raises(MalformedRecordError) as caught:
                load_neuron(folder / dataset, layer, path.stem)
            assert str(path) in str(caught.value)
        else:
            record = load_neuron(folder / dataset, layer, path.stem)
            assert record.neuron_id == NeuronId(int(layer), int(path.stem))
            assert record_from_json(record_to_json(record)) == record
            assert record.is_by_token_pair == (dataset == "attn")
    assert all(counts.get(dataset) for dataset in ("mlp", "attn", "legacy", "broken"))


def test_control_and_direction_characters_of_tokens_are_escapes_in_tables():
    tokens = ["a\x1b[31m", "\u202eb", "\n", "\t", "é"]
    shown = ["a\\x1b[31m", "\\u202eb", "\n", "\t", "é"]
    by_token = NeuronRecord(NeuronId(1, 2), random_sample=[ActivationRecord(tokens, [1.0] * 5)])
    assert by_token.to_dataframe().token.tolist() == shown
    by_pair = NeuronRecord(NeuronId(1, 2), random_sample=[ActivationRecord(tokens, [1.0] * 15)])
    frame = by_pair.to_dataframe()
    assert set(frame.token) == set(frame.attended_token) == set(shown)


@pytest.mark.parametrize("dst", ["mlp_post_act", "attn_write_norm"])
def test_the_embedded_records_hold_enough_for_five_examples_per_split(dst):
    record = ne.load_neuron("tiny", 1, 3, dst)
    five = ActivationRecordSliceParams(n_examples_per_split=5)
    for name, n_examples in (("train", 5), ("calibration", 10), ("valid", 10), ("test", 10)):
        split = getattr(record, f"{name}_activation_records")
        assert len(split(five)) == n_examples
        assert split(activation_record_slice_params=five) == split(params=five) == split(five)
        with pytest.raises(InvalidRequestError, match="older name of params"):
            split(five, activation_record_slice_params=five)
