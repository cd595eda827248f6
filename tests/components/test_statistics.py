"""Statistics of components and of whole datasets, against sums over their records made by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from helpers.collation_models import model_context, random_texts
from helpers.neuron_records import INFO, TOKENS, neuron_record
from helpers.packed_layers import layer_by_token
from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.activations.packed.layer_file import PackedLayerReader
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.components.statistics.of_component import ComponentStatistics
from neuron_explainer.components.statistics.of_dataset import dataset_statistics
from neuron_explainer.components.statistics.packed_layers import columns_of_layer


@pytest.fixture
def small(tmp_path):
    write_packed_dataset_info(tmp_path, INFO, TOKENS)
    write_packed_layer(tmp_path, 1, layer_by_token())
    return tmp_path


def test_places_of_a_text_count_once(small):
    statistics = ne.component(small, "L1N0").statistics
    # sequence 0 "a b c d e": top at 1 to 3 (0, .25, .5), quantile at 0 (0.0); sequence 1 "f g a": top at 0 to 2
    # (.75, 1, 1.25). The random example and the quantile examples of sequence 1 lie within those.
    tokens: Any = statistics.tokens().set_index("token")
    assert tokens["count"].to_dict() == {"f": 1, "g": 1, "a": 2, "b": 1, "c": 1, "d": 1}
    assert tokens.loc["a", ["mean", "max"]].tolist() == [0.625, 1.25]
    at = statistics.positions(4, "all")
    assert at[["first", "last", "n_tokens"]].values.tolist() == [[0, 0, 2], [1, 1, 2], [2, 2, 2], [3, 3, 1]]
    assert at["mean"].tolist() == [0.375, 0.5, 0.75, 0.5]
    assert at["share_active"].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert statistics.tokens(examples="random")["mean"].tolist() == [-1.0, -2.0]


def test_single_numbers_and_bins(small):
    statistics = ne.component(small, "L1N0").statistics
    assert statistics.to_dict() == {
        "frequency": 0.25,
        "max": 1.25,
        "mean": 0.125,
        "variance": 1.0,
        "standard_deviation": 1.0,
        "skewness": -2.0,
        "kurtosis": 3.5,
        "is_dead": None,
        "is_dense": None,
    }
    assert statistics.log_histogram()["log10_count"].tolist() == [0.0, np.log10(2)]
    bounds = statistics.quantiles()[["low", "high"]].to_numpy()
    np.testing.assert_array_equal(bounds, [[np.nan, 0.5], [0.5, np.nan]])


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mixtral"])
def test_packed_and_json_give_the_same(family, tmp_path):
    context = model_context(family)
    made = ne.collate(context, random_texts(12), tmp_path / "packed", layers=[0], context_length=32, progress=False)
    table = dataset_statistics(made)
    records = [ne.load_neuron(made, 0, number) for number in range(len(table))]
    for record in records:
        save_neuron(tmp_path / "json", record)
    again = dataset_statistics(tmp_path / "json", progress=False)
    numbers = ["max", "mean", "variance", "standard_deviation", "skewness", "kurtosis", "frequency", "n_top"]
    np.testing.assert_array_equal(table[numbers].to_numpy(float), again[numbers].to_numpy(float))
    assert table["name"].tolist() == again["name"].tolist() == [f"L0N{number}" for number in range(len(table))]
    for record, token, highest in zip(records, table["top_token"], table["max"], strict=True):
        first = record.most_positive_activation_records[0]
        assert token == first.tokens[int(np.argmax(first.activations))]
        assert highest == record.max_activation
    assert table["top_token"].tolist() == again["top_token"].tolist()


def test_the_pairs_of_a_head():
    statistics = ne.component("tiny", "L0H1").statistics
    by_distance: dict[int, list[float]] = {}
    largest: dict[int, list[float]] = {}
    for example in statistics.record.random_sample:
        values = iter(example.activations)
        for later in range(len(example.tokens)):
            row = [next(values) for _ in range(later + 1)]
            for earlier, value in enumerate(row):
                by_distance.setdefault(later - earlier, []).append(value)
            largest.setdefault(later, []).append(max(row))
    only_random = [each for each in statistics.examples if each.kind == "random"]
    statistics = dataclasses.replace(statistics, examples=only_random)
    table = statistics.distances()
    assert table["distance"].tolist() == sorted(by_distance)
    assert table["n_pairs"].tolist() == [len(by_distance[distance]) for distance in sorted(by_distance)]
    assert table["mean"].tolist() == pytest.approx([np.mean(by_distance[each]) for each in sorted(by_distance)])
    tokens = statistics.tokens(10**6, "max", "random")
    assert tokens["max"].iloc[0] == max(max(values) for values in largest.values())
    record = statistics.record.most_positive_activation_records[0]
    place = int(np.tril_indices(len(record.tokens))[0][int(np.argmax(record.activations))])
    whole = dataset_statistics("tiny", "attn_write_norm").set_index("name")
    assert whole.loc["L0H1", "top_token"] == record.tokens[place]


def test_a_latent_is_dead_or_dense_by_its_frequency(tmp_path):
    context = model_context("llama")
    dst = ne.DerivedScalarType.RESID_POST_MLP
    autoencoders = random_autoencoders(context, dst, bias=2.0)
    autoencoder = autoencoders.get_autoencoder(1)
    autoencoder.latent_bias[3] = -1e6
    made = ne.collate(
        context,
        random_texts(12),
        tmp_path / "latents",
        "autoencoder_latent",
        config=ne.DstConfig(autoencoder_context=autoencoders),
        layers=[1],
        context_length=32,
        progress=False,
    )
    table = dataset_statistics(made).set_index("name")
    for index in range(24):
        statistics = ne.component(made, f"L1A{index}").statistics
        frequency = statistics.frequency or 0.0
        assert statistics.is_dead == (frequency == 0) == table.loc[f"L1A{index}", "is_dead"]
        assert statistics.is_dense == (frequency > 0.1) == table.loc[f"L1A{index}", "is_dense"]
    assert table.loc["L1A3", "is_dead"]
    assert 0 < table["is_dense"].sum() < 24
    everything = dataset_statistics(made, dense_above=0)
    assert everything["is_dense"].sum() == 23
    dead = dataclasses.replace(ne.component(made, "L1A3").record, activation_frequency=None)
    assert ComponentStatistics(dead).is_dead
    assert ComponentStatistics(dead).is_dense is None


@pytest.mark.parametrize(
    ("n_boundaries", "bounds"),
    [
        (1, [[np.nan, 0], [0, np.nan]]),
        (2, [[np.nan, 0], [0, 1]]),
        (3, [[0, 1], [1, 2]]),
        (0, [[np.nan, np.nan], [np.nan, np.nan]]),
    ],
)
def test_boundaries_stored_in_any_way(n_boundaries, bounds):
    record = dataclasses.replace(neuron_record(), quantile_boundaries=[float(each) for each in range(n_boundaries)])
    table = ComponentStatistics(record).quantiles()
    np.testing.assert_array_equal(table[["low", "high"]].to_numpy(float), bounds)
    assert table["n_examples"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("array", "value"), [("top_sequence", 9), ("top_start", 4), ("top_length", 0), ("top_activations", np.nan)]
)
def test_hostile_arrays_are_refused(array, value, tmp_path):
    layer = layer_by_token()
    layer.tensors()[array][0, 0] = value
    if array == "top_activations":  # the writer and the reader of records refuse it; here it is one unknown number
        assert np.isfinite(columns_of_layer(PackedLayerReader(layer.tensors(), 1, INFO, TOKENS))["max"]).any()
        return
    with pytest.raises(ne.errors.MalformedDatasetError, match="top examples"):
        columns_of_layer(PackedLayerReader(layer.tensors(), 1, INFO, TOKENS))


def test_a_token_id_that_does_not_exist_is_refused():
    layer = layer_by_token()
    layer.sequences[:] = 99
    with pytest.raises(ne.errors.MalformedDatasetError, match="token id is 99"):
        columns_of_layer(PackedLayerReader(layer.tensors(), 1, INFO, TOKENS))


def test_what_is_refused(small):
    statistics = ne.component(small, "L1N0").statistics
    with pytest.raises(ne.errors.InvalidRequestError, match="one activation per token"):
        statistics.distances()
    with pytest.raises(ne.errors.UnknownNameError):
        statistics.tokens(by="median")
    with pytest.raises(ne.errors.InvalidRequestError, match="is at an address"):
        dataset_statistics("https://example.org/data")
    with pytest.raises(ne.errors.InvalidRequestError, match="from 0 to 1"):
        dataset_statistics(small, dense_above=2)
    with pytest.raises(ne.errors.InvalidRequestError):
        dataset_statistics(small, layers=[3])
