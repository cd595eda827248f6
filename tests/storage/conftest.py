"""A cache of its own for a test, and a server on this machine."""

import pytest

from helpers.loopback_server import loopback_server


@pytest.fixture
def cache_path(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server():
    with loopback_server() as running:
        yield running
