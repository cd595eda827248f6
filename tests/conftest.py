"""What every test file shares."""

from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

# Tensor shapes that annotations promise are checked at every call while tests run.
install_import_hook(
    ["neuron_explainer.models", "neuron_explainer.activations.derived_scalars", "neuron_explainer.collation"],
    "beartype.beartype",
)

import helpers.property_tests  # noqa: E402, F401  (how many examples property tests try)
from helpers.shared_models import smollm2  # noqa: E402, F401  (after the hook, so that what it imports is checked too)
from neuron_explainer.activation_server.neuron_datasets import NEURON_DATASET_METADATA_REGISTRY  # noqa: E402


def _registry_as_it_was() -> Iterator[None]:
    before = dict(NEURON_DATASET_METADATA_REGISTRY)
    yield
    NEURON_DATASET_METADATA_REGISTRY.clear()
    NEURON_DATASET_METADATA_REGISTRY.update(before)


# No test leaves a dataset in the registry, and no fixture that a module's tests share.
registry_after_each_test = pytest.fixture(autouse=True)(_registry_as_it_was)
registry_after_each_module = pytest.fixture(autouse=True, scope="module")(_registry_as_it_was)


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the disk cache: every download is one."""
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
