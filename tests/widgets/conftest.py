"""Fixtures of the viewer tests: a small registry, and stand-ins for loading and computing."""

from typing import Any

import pytest

from helpers.viewers import HEADS, MLP, FakeLoader
from neuron_explainer.activation_server import neuron_datasets
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType


@pytest.fixture(autouse=True)
def two_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of "one" (neurons and heads; 2 layers) and "two" (neurons; of unknown size)."""
    monkeypatch.setattr(neuron_datasets, "NEURON_DATASET_METADATA_REGISTRY", {})
    register_neuron_dataset_metadata(NeuronDatasetMetadata("one", MLP, "One", "/nowhere/one", 2, 10))
    register_neuron_dataset_metadata(NeuronDatasetMetadata("one", HEADS, "One, heads", "/nowhere/heads", 2, 3))
    register_neuron_dataset_metadata(NeuronDatasetMetadata("two", MLP, "Two", "/nowhere/two"))


@pytest.fixture
def load() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces a model's computation. Returns the list of calls."""
    calls: list[Any] = []

    def live_record(
        model: Any, layer: int, neuron: int, texts: list[str], dst: DerivedScalarType, prepend_bos: bool | None
    ) -> NeuronRecord:
        calls.append((model, layer, neuron, texts, dst))
        examples = [ActivationRecord([*text.split()], [float(neuron)] * len(text.split())) for text in texts]
        return NeuronRecord(NeuronId(layer, neuron), most_positive_activation_records=examples)

    monkeypatch.setattr("neuron_explainer.collation.live.live_record", live_record)
    monkeypatch.setattr("neuron_explainer.models.beginning.added_before_text", lambda model: [])
    return calls
