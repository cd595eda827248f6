"""Every module that registers derivers; importing this one fills the table."""

from neuron_explainer.activations.derived_scalars import (  # noqa: F401
    attention,
    attention_to_latents,
    autoencoder,
    in_edges,
    mlp,
    node,
    out_edges,
    residual,
    vocabulary,
)
