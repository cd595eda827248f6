"""All modules that register derivers: importing this module fills the table `DERIVERS`."""

from neuron_explainer.activations.derived_scalars.derivers import (
    attention,
    attention_to_latents,
    autoencoder_latents,
    in_edges,
    mlp,
    node,
    out_edges,
    residual,
    vocabulary_tokens,
)

__all__ = [
    "attention",
    "attention_to_latents",
    "autoencoder_latents",
    "in_edges",
    "mlp",
    "node",
    "out_edges",
    "residual",
    "vocabulary_tokens",
]
