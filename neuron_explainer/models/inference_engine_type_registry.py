"""The engines that run a model. Only one exists; code that names it will keep working if more are added."""

from neuron_explainer.vocabulary.named_members import NamedMembers


class InferenceEngineType(NamedMembers):
    """The engines for which a model context can be made."""

    STANDARD = "standard"
    """This library's own transformer, `neuron_explainer.models.transformer.Transformer`."""
