"""Traces of neurons and latents: their activations before the nonlinearity."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.attribution.tracing.trace_objective import TraceObjective
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.vocabulary.nodes import LocationWithinLayer, NodeType


class NeuronTrace(TraceObjective):
    """A neuron's activation before its nonlinearity; of a gated MLP, the gate.

    Args:
        bound: the model.
        layer, token, neuron: which one.
    """

    def __init__(self, bound: BoundConfig, layer: int, token: int, neuron: int) -> None:
        super().__init__(*bound.read_by(NodeType.MLP_NEURON, layer))
        self._block = bound.block(layer)
        self._token = token
        self._neuron = neuron

    def check(self, resid: Float[Tensor, "batch tokens d_model"]) -> None:
        """Check that a mixture of experts sends the token to the neuron's expert."""
        mlp = self._block.mlp
        if not isinstance(mlp, MixtureOfExperts):
            return
        expert = self._neuron // mlp.d_expert
        chosen, _ = mlp.route(self._block.mlp_input(resid[:, self._token]))
        if not bool((chosen == expert).any(dim=-1).all()):
            raise InvalidRequestError(
                f"L{self._block.layer}N{self._neuron} belongs to expert {expert}, and token {self._token} is sent to "
                f"the experts {', '.join(map(str, sorted(chosen[0].tolist())))}. Choose one of their neurons, or "
                "another token."
            )

    def activation(self, resid: Float[Tensor, "batch tokens d_model"], hold_scales: bool) -> Float[Tensor, " batch"]:
        """The gate's linear map of the normalised residual stream."""
        weight, bias = self._block.mlp.gate(self._neuron)
        values = self._block.mlp_input(resid[:, self._token], hold_scales) @ weight
        return values if bias is None else values + bias


class LatentTrace(TraceObjective):
    """A latent's activation before its activation function.

    Args:
        bound: the model and its autoencoders.
        kind: the kind of latent.
        layer, token, latent: which one.
    """

    def __init__(self, bound: BoundConfig, kind: NodeType, layer: int, token: int, latent: int) -> None:
        super().__init__(*bound.read_by(kind, layer))
        self._bound, self._kind, self._layer, self._token = bound, kind, layer, token
        self._which = slice(latent, latent + 1)
        self._autoencoder = bound.autoencoder(kind, layer)
        reads_past_neurons = bound.location_of(kind) is LocationWithinLayer.MLP and not isinstance(
            self._autoencoder, Transcoder
        )
        is_plain = type(self._autoencoder) in (Autoencoder, Transcoder) and not self._autoencoder.scales_inputs
        self.is_affine = is_plain and not reads_past_neurons

    def activation(self, resid: Float[Tensor, "batch tokens d_model"], hold_scales: bool) -> Float[Tensor, " batch"]:
        """The encoder's linear map of what it reads."""
        before = recompute.up_to(self._bound, resid, self._token)
        inputs = recompute.autoencoder_input(
            self._bound, self._kind, self._layer, before, hold_scales, hold_pattern=hold_scales
        )
        return self._autoencoder.pre_activations(inputs, self._which)[:, self._token, 0]
