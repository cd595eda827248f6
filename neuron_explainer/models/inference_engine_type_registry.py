"""The engines that run a model. There is one; code that names it will keep working if there are more."""

from enum import StrEnum


class InferenceEngineType(StrEnum):
    """The engines for which a model context can be made."""

    STANDARD = "standard"
    """This library's own transformer, `neuron_explainer.models.transformer.Transformer`."""
