"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
from collections.abc import Iterator

import pytest

from helpers.paths import PACKAGE, REPOSITORY
from neuron_explainer.activation_server.neuron_datasets import NEURON_DATASET_METADATA_REGISTRY

MODULES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Examples may register datasets; other tests must not see them."""
    before = dict(NEURON_DATASET_METADATA_REGISTRY)
    yield
    NEURON_DATASET_METADATA_REGISTRY.clear()
    NEURON_DATASET_METADATA_REGISTRY.update(before)


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.attempted
    assert not results.failed
