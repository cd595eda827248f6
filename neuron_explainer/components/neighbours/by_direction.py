"""The cosines of the directions that components write or read in the residual stream; exact, a layer at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.attribution.single_nodes.directions import (
    checked_latent,
    latent_reads,
    latent_writes,
    neuron_reads,
    neuron_writes,
)
from neuron_explainer.components.finite_weights import check_finite_result, check_finite_rows
from neuron_explainer.components.held import held
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component


def cosines_by_layer(
    component: Component, by: str, kind: NodeKind, layers: list[int]
) -> dict[int, Float[Tensor, " components"]]:
    """The cosine of a component's direction and each one's; NaN where a direction is 0.

    Args:
        component: the component.
        by: "write" or "read".
        kind: the kind of the others.
        layers: their layers.

    Raises:
        InvalidRequestError: a latent has no such direction.
        NotAtHandError: the component has no model, or no autoencoders.
        StoppedError: the work is to stop.
        NonFiniteTensorError: a direction is infinite or NaN.
    """
    asked = f"neighbours(by={by!r})"
    if component.kind is NodeKind.HEAD:
        from neuron_explainer.components.heads.matrices import head_cosines

        return head_cosines(component, by, layers)
    bound = component.bound(asked)
    if component.kind is NodeKind.LATENT:
        checked_latent(component.autoencoder(asked), component.layer, component.index)
    direction = _directions(component, bound, component.kind, by, component.layer, component.index)
    check_finite_result(direction, f"What {component.name} {by}s")
    own = _unit_rows(direction)[0]
    found = {}
    for layer in layers:
        stop_if_asked()
        rows = unit_directions(component, by, kind, layer)
        found[layer] = rows.to(own.device) @ own.to(rows.dtype)
    return found


def unit_directions(component: Component, by: str, kind: NodeKind, layer: int) -> Float[Tensor, "components d_model"]:
    """The directions of a layer's neurons or latents, as long as 1; NaN where a direction is 0.

    Args:
        component: says the model and the autoencoders.
        by: "write" or "read".
        kind: the kind of the layer's components.
        layer: the layer.

    Raises:
        NonFiniteTensorError: a direction is infinite or NaN.
    """
    bound = component.bound(f"neighbours(by={by!r})")
    if kind is NodeKind.NEURON:
        return _neurons_of(bound, by, layer)
    rows = _directions(component, bound, kind, by, layer)
    check_finite_rows(rows, layer, kind.symbol, f"{by}s")
    return _unit_rows(rows)


def _neurons_of(bound: BoundConfig, by: str, layer: int) -> Float[Tensor, "neurons d_model"]:
    """The unit directions of a layer's neurons, kept for the next question where the weights do not have them."""

    def make() -> Tensor:
        rows = neuron_writes(bound, layer) if by == "write" else neuron_reads(bound, layer)
        check_finite_rows(rows, layer, NodeKind.NEURON.symbol, f"{by}s")
        return _unit_rows(rows)

    return held(bound.model, ("unit directions", by, layer), make)


def _directions(
    component: Component, bound: BoundConfig, kind: NodeKind, by: str, layer: int, index: int | None = None
) -> Float[Tensor, "components d_model"]:
    if kind is NodeKind.NEURON:
        return neuron_writes(bound, layer, index) if by == "write" else neuron_reads(bound, layer, index)
    node_type = component.autoencoders_of_latents("neighbours()").autoencoder_node_type
    return (
        latent_writes(bound, node_type, layer, index) if by == "write" else latent_reads(bound, node_type, layer, index)
    )


def _unit_rows(rows: Tensor) -> Tensor:
    """Rows divided by their norms; NaN where a row is 0."""
    return rows / rows.norm(dim=-1, keepdim=True)


def decoder_weights(component: Component) -> Float[Tensor, " neurons"] | None:
    """What a latent's decoder gives each neuron of its layer; None of a component that does not write to neurons."""
    if component.kind is not NodeKind.LATENT:
        return None
    context = component.autoencoders_of_latents("neighbours()")
    if context.dst is not DerivedScalarType.MLP_POST_ACT:
        return None
    return context.get_autoencoder(component.layer).write_rows[component.index].detach().cpu()
