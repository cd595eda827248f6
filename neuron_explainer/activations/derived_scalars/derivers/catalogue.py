"""Every module that registers derivers; importing this one fills the table."""

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
