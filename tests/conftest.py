"""What every test file shares."""

from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

# Tensor shapes that annotations promise are checked at every call while tests run.
install_import_hook(
    ["neuron_explainer.models", "neuron_explainer.activations.derived_scalars", "neuron_explainer.collate"],
    "beartype.beartype",
)

from models_for_tests import smollm2  # noqa: E402, F401  (after the hook, so that what it imports is checked too)

from neuron_explainer.activation_server.neuron_datasets import NEURON_DATASET_METADATA_REGISTRY  # noqa: E402


@pytest.fixture(autouse=True)
def registry_as_it_was() -> Iterator[None]:
    """No test leaves a dataset in the registry."""
    before = dict(NEURON_DATASET_METADATA_REGISTRY)
    yield
    NEURON_DATASET_METADATA_REGISTRY.clear()
    NEURON_DATASET_METADATA_REGISTRY.update(before)
