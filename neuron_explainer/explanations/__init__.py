"""Explanations of neurons, heads and latents: written, simulated and scored, with a language model or without one."""

from neuron_explainer._lazy_names import names_of_stub

__getattr__, __dir__, __all__ = names_of_stub(__name__, __file__)
