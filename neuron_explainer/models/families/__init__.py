"""The model families: how each one's Hugging Face configs and weights become a `Transformer`.

`FAMILY_BY_MODEL_TYPE` is the registry; `docs/adding_a_family.md` shows how to add to it.
"""

from neuron_explainer._lazy import lazy_exports

_MODULE_BY_NAME = {
    "FAMILY_BY_MODEL_TYPE": "neuron_explainer.models.families.registry",
    "family_of": "neuron_explainer.models.families.registry",
    "register_family": "neuron_explainer.models.families.registry",
    "Family": "neuron_explainer.models.families.family",
    "TensorSource": "neuron_explainer.models.families.family",
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
