"""The output tokens whose logits a neuron or latent raises and lowers."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.attribution.computing.readout import logits_of_write
from neuron_explainer.attribution.single_nodes.directions import checked_latent, latent_writes, neuron_writes
from neuron_explainer.components.finite_weights import check_finite_result
from neuron_explainer.components.vocabulary.token_rows import token_table
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component


def write_direction_of(component: Component, asked: str) -> Float[Tensor, "1 d_model"]:
    """What one unit of a neuron's or latent's activation adds to the residual stream.

    Raises:
        NotAtHandError: the component has no model, or a latent no autoencoder.
        InvalidRequestError: the latent reaches the residual stream through a nonlinearity.
    """
    if component.kind is NodeKind.NEURON:
        return neuron_writes(component.bound(asked), component.layer, component.index)
    checked_latent(component.autoencoder(asked), component.layer, component.index)
    return latent_writes(component.bound(asked), component.dst.node_type, component.layer, component.index)


def centred_logits(model: Transformer, writes: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows vocab"]:
    """What writes add to the logits, the final norm's scale left at 1, minus the mean over the vocabulary."""
    logits = logits_of_write(model, writes, torch.ones_like(writes[:, :1]))
    return logits - logits.mean(-1, keepdim=True)


def tokens_written(component: Component, n: SupportsIndex) -> pandas.DataFrame:
    """See `Component.writes`."""
    count = checked_number("n", n)
    with torch.no_grad():
        write = write_direction_of(component, "writes()")
        values = centred_logits(component.transformer("writes()"), write)[0].cpu()
    check_finite_result(values, f"What {component.name} writes to the output tokens")
    return token_table(component.model("writes()"), values, count)
