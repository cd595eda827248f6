"""Every module that registers derivers; importing this one fills the table."""

from neuron_explainer.activations.derived_scalars import (  # noqa: F401
    attention,
    autoencoder,
    mlp,
    residual,
)
