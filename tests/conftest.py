"""What every test file shares."""

from jaxtyping import install_import_hook

# Tensor shapes that annotations promise are checked at every call while tests run.
install_import_hook(
    ["neuron_explainer.models", "neuron_explainer.activations.derived_scalars", "neuron_explainer.collate"],
    "beartype.beartype",
)

from models_for_tests import smollm2  # noqa: E402, F401  (after the hook, so that what it imports is checked too)
