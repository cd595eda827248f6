"""What runs a model. There is one engine, and code that names it keeps working should there be more."""

from enum import StrEnum


class InferenceEngineType(StrEnum):
    """The engines that a model context can be made for."""

    STANDARD = "standard"
    """This library's own transformer, `neuron_explainer.models.transformer.Transformer`."""
