"""Neuron records, packed datasets and explanations from outside."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

import neuron_explainer as ne
from fuzz.mutations import mutated_json
from fuzz.target import Scene, Target, scenes_of
from fuzz.tensor_mutations import mutated_safetensors
from helpers.explanations import PRESENT, in_old_spelling
from helpers.neuron_records import INFO, TOKENS, example, neuron_record, public_json
from helpers.packed_layers import examples, layer_by_token
from neuron_explainer.activations.activations import Histogram, NeuronRecord
from neuron_explainer.activations.packed.layout import PackedLayer
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.activations.record_json import record_from_json, record_to_json


def check_record(record: NeuronRecord) -> None:
    """What was loaded can be shown, and is written and read again as it is."""
    assert "</html>" in record._repr_html_() or "<div" in record._repr_html_()
    assert repr(record)
    record.to_dataframe()
    assert record_from_json(record_to_json(record)) == record


def _record_scenes(folder: Path) -> list[Scene]:
    whole = neuron_record()
    short = replace(
        whole,
        most_positive_activation_records=whole.most_positive_activation_records[:3],
        random_sample=whole.random_sample[:2],
        activation_frequency=0.25,
        histogram=Histogram([0.0, 1.0, 2.0], [3, 4]),
    )
    pairs = replace(
        short,
        most_positive_activation_records=[example(4, by_pair=True)],
        random_sample=[example(5, window=2, by_pair=True)],
        random_sample_by_quantile=None,
        quantile_boundaries=None,
    )
    old = {**public_json(short), "neuron_id": {"layer": "3", "idx": 7}, "skewness": float("nan")}
    contents = [record_to_json(whole), record_to_json(short), record_to_json(pairs), json.dumps(old).encode()]
    return [Scene({"3/7.json": content}, "3/7.json", mutated_json) for content in contents]


def _read_record(folder: Path) -> None:
    check_record(ne.load_neuron(folder, 3, 7))


def _packed_folders(folder: Path) -> list[Path]:
    by_token, by_pair = folder / "by_token", folder / "by_pair"
    write_packed_dataset_info(by_token, INFO, TOKENS)
    write_packed_layer(by_token, 1, layer_by_token())
    info = msgspec.structs.replace(
        INFO, is_by_token_pair=True, attended_window=2, derived_scalar_type="attn_write_norm"
    )
    write_packed_dataset_info(by_pair, info, TOKENS)
    write_packed_layer(
        by_pair,
        1,
        PackedLayer(
            sequences=np.array([[0, 1, 2, 3, 4]], np.int16),
            sequence_lengths=np.array([5], np.int16),
            top=examples([[0], [0]], [[1], [0]], [[3], [1]], np.arange(10).reshape(2, 1, 5) / 4),
            random=examples([[0], [-1]], [[1], [7]], [[2], [9]], np.arange(6).reshape(2, 1, 3)),
            moments=np.array([[0.125, 1.0, -2.0, 3.5], [np.nan, 0.0, np.nan, np.nan]]),
        ),
    )
    return [by_token, by_pair]


def _packed_layer_scenes(folder: Path) -> list[Scene]:
    changed = {"layer_1.safetensors": mutated_safetensors}
    return [scene for each in _packed_folders(folder) for scene in scenes_of(each, changed)]


def _packed_json_scenes(folder: Path) -> list[Scene]:
    changed = {"dataset.json": mutated_json, "tokens.json": mutated_json}
    return [scene for each in _packed_folders(folder) for scene in scenes_of(each, changed)]


def _read_packed(folder: Path) -> None:
    for component in (0, 1):
        check_record(ne.load_neuron(folder, 1, component))


def _explanation_scenes(folder: Path) -> list[Scene]:
    contents = [json.dumps(fields).encode() for fields in (PRESENT, in_old_spelling(PRESENT))]
    return [Scene({"3/7.jsonl": content}, "3/7.jsonl", mutated_json) for content in contents]


def _read_explanations(folder: Path) -> None:
    results = ne.load_explanations(folder, 3, 7)
    assert repr(results)
    results.to_dataframe()
    for explanation in results.scored_explanations:
        assert isinstance(explanation.explanation, str)


TARGETS = [
    Target("neuron_record", _record_scenes, _read_record),
    Target("packed_layer", _packed_layer_scenes, _read_packed),
    Target("packed_json", _packed_json_scenes, _read_packed),
    Target("explanations", _explanation_scenes, _read_explanations),
]
