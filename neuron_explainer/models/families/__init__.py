"""The model families: each turns its Hugging Face configs and weights into a `Transformer`.

`FAMILY_BY_MODEL_TYPE` is the registry; `docs/adding_a_family.md` shows how to add one."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
