"""Edges that lead from the node: how each component downstream changes along the node's write.

The write is at one token, so only that token's queries, keys, values and neurons change directly, and only their
derivatives are computed. Attention probabilities a follow from the logits s by
da = a * (ds - sum of a * ds over the tokens attended to).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivers.latent_needs import online_latent_gradient
from neuron_explainer.activations.derived_scalars.derivers.node import NodeWrite
from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig, required_layer
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded, Where
from neuron_explainer.activations.derived_scalars.engine.positions import one_position
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import (
    Activation,
    Given,
    Shared,
    derives,
    gradient,
    shared,
)
from neuron_explainer.activations.derived_scalars.indexing import PreOrPostAct
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, product, values_of
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PLACE = ActivationLocationType
_LATENT = NodeType.AUTOENCODER_LATENT

Part = Literal["queries", "keys", "values", "neurons", "latents"]


def _reader(part: Part) -> NodeType:
    if part == "neurons":
        return NodeType.MLP_NEURON
    return _LATENT if part == "latents" else NodeType.ATTENTION_HEAD


def downstream_of_node(part: Part, *, with_gradient: bool) -> Where:
    """The layers whose components read what the node writes and, if asked for, have a gradient."""

    def where(bound: BoundConfig, layer: int | None) -> bool:
        _, position = bound.read_by(_reader(part), required_layer(layer))
        is_reached = bound.is_upstream(bound.node.node_type, bound.node_layer, position)
        if not with_gradient:
            return is_reached
        return is_reached and (bound.start.is_loss or position < bound.start.position)

    return where


@dataclass(frozen=True)
class TangentAlongWrite(Need):
    """The directional derivative of queries, keys, values, neurons or latents along the node's write.

    Attributes:
        part: which of them. Queries, keys, values and neurons are those of the node's token, (batch, 1, …); latents are
            those of all tokens.
        holds_scale: whether the LayerNorm scale before the component is held constant; None: as the configuration says.
    """

    part: Part
    holds_scale: bool | None

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What the write needs, and the residual stream that the component reads."""
        yield from NodeWrite().recordings(bound, layer)
        residual, _ = bound.read_by(_reader(self.part), required_layer(layer))
        yield Recorded(*residual)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        """The derivative, computed once."""
        config = evaluation.bound.config
        holds = config.detach_layer_norm_scale_for_attribution if self.holds_scale is None else self.holds_scale
        resolved = TangentAlongWrite(self.part, holds)
        tangent: Tensor = evaluation.once(
            resolved, layer, lambda: resolved._computed(evaluation, required_layer(layer))
        )
        return tangent

    def _computed(self, evaluation: Evaluation, layer: int) -> Tensor:
        bound, holds = evaluation.bound, bool(self.holds_scale)
        block = bound.block(layer)
        residual, _ = bound.read_by(_reader(self.part), layer)
        resid, write = evaluation.recorded(Recorded(*residual)), NodeWrite().value(evaluation, layer)
        if self.part == "latents":
            return recompute.directional_derivative(
                lambda stream: recompute.latents(bound, _LATENT, layer, stream, holds, PreOrPostAct.POST),
                resid,
                write,
            )
        token = one_position(bound.node.tensor_indices[0])
        here, n_tokens = slice(token, token + 1), evaluation.n_tokens
        functions = {
            "queries": lambda stream: block.queries(block.attention_input(stream, holds), token, n_tokens),
            "keys": lambda stream: block.keys(block.attention_input(stream, holds), token, n_tokens),
            "values": lambda stream: block.values(block.attention_input(stream, holds)),
            "neurons": lambda stream: recompute.neurons(block, stream, holds, PreOrPostAct.POST),
        }
        return recompute.directional_derivative(functions[self.part], resid[:, here], write[:, here])


_TOKEN = Given(lambda bound, layer: bound.node.tensor_indices[0])
_PROBS = Activation(_PLACE.ATTN_QK_PROBS)


@dataclass(frozen=True)
class LogitSlopes(Need):
    """The derivative of attention logits with respect to query · key: 1, or less if they are soft-capped."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The logits, if they are soft-capped."""
        if bound.model.config.attention_softcap is not None:
            yield Recorded(_PLACE.ATTN_QK_LOGITS, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens to heads"] | None:
        """1 - (s / c)², from s = c tanh(q · k / c), and 0 where s is masked; None stands for 1."""
        softcap = evaluation.bound.model.config.attention_softcap
        if softcap is None:
            return None
        logits = evaluation.recorded(Recorded(_PLACE.ATTN_QK_LOGITS, layer))
        return 1 - (logits.clamp(min=-softcap) / softcap).square()


def probs_through_queries(
    tangent: Float[Tensor, "batch 1 heads d_head"],
    others: Float[Tensor, "batch to heads d_head"],
    probs: Float[Tensor, "batch tokens to heads"],
    slopes: Float[Tensor, "batch tokens to heads"] | None,
    token: int,
) -> Float[Tensor, "batch tokens to heads"]:
    """The change of the token's attention with its query: in its row alone."""
    logits_tangent = torch.einsum("bhc,bthc->bth", tangent[:, 0], others)
    if slopes is not None:
        logits_tangent = logits_tangent * slopes[:, token]
    row = probs[:, token]
    result = torch.zeros_like(probs)
    result[:, token] = row * (logits_tangent - (row * logits_tangent).sum(dim=1, keepdim=True))
    return result


def probs_through_keys(
    tangent: Float[Tensor, "batch 1 heads d_head"],
    others: Float[Tensor, "batch tokens heads d_head"],
    probs: Float[Tensor, "batch tokens to heads"],
    slopes: Float[Tensor, "batch tokens to heads"] | None,
    token: int,
) -> Float[Tensor, "batch tokens to heads"]:
    """The change of attention with the token's key: its column gains what the other columns of each row lose."""
    logits_tangent = torch.einsum("bfhc,bhc->bfh", others, tangent[:, 0])
    if slopes is not None:
        logits_tangent = logits_tangent * slopes[:, :, token]
    gained = probs[:, :, token] * logits_tangent
    result = probs * -gained.unsqueeze(2)
    result[:, :, token] += gained
    return result


def _probs_through(part: Part, holds_scale: bool | None) -> Shared:
    return shared(
        tangent=TangentAlongWrite(part, holds_scale),
        others=Activation(_PLACE.ATTN_KEY if part == "queries" else _PLACE.ATTN_QUERY),
        probs=_PROBS,
        slopes=LogitSlopes(),
        token=_TOKEN,
    )(probs_through_queries if part == "queries" else probs_through_keys)


@derives(
    _DST.ATTN_QUERY_IN_EDGE_ACTIVATION,
    tangent=_probs_through("queries", holds_scale=True),
    where=downstream_of_node("queries", with_gradient=False),
)
@derives(
    _DST.ATTN_KEY_IN_EDGE_ACTIVATION,
    tangent=_probs_through("keys", holds_scale=True),
    where=downstream_of_node("keys", with_gradient=False),
)
@derives(
    _DST.ONLINE_AUTOENCODER_IN_EDGE_ACTIVATION,
    tangent=TangentAlongWrite("latents", holds_scale=True),
    where=downstream_of_node("latents", with_gradient=False),
)
def change_along_write(tangent: Tensor) -> Tensor:
    """The derivative of the activation along the write."""
    return tangent


@derives(
    _DST.ATTN_QUERY_IN_EDGE_ATTRIBUTION,
    tangent=_probs_through("queries", holds_scale=None),
    act_gradient=gradient(_PLACE.ATTN_QK_PROBS),
    where=downstream_of_node("queries", with_gradient=True),
)
@derives(
    _DST.ATTN_KEY_IN_EDGE_ATTRIBUTION,
    tangent=_probs_through("keys", holds_scale=None),
    act_gradient=gradient(_PLACE.ATTN_QK_PROBS),
    where=downstream_of_node("keys", with_gradient=True),
)
@derives(
    _DST.ONLINE_AUTOENCODER_IN_EDGE_ATTRIBUTION,
    tangent=TangentAlongWrite("latents", holds_scale=None),
    act_gradient=online_latent_gradient(_LATENT),
    where=downstream_of_node("latents", with_gradient=True),
)
def times_gradient(tangent: Tensor, act_gradient: Tensor) -> Tensor:
    """The derivative of act * stopgrad(act') along the write."""
    return tangent * act_gradient


@derives(
    _DST.ATTN_VALUE_IN_EDGE_ATTRIBUTION,
    tangent=TangentAlongWrite("values", holds_scale=None),
    probs=_PROBS,
    summed_gradient=gradient(_PLACE.ATTN_WEIGHTED_SUM_OF_VALUES),
    token=_TOKEN,
    where=downstream_of_node("values", with_gradient=True),
)
def weighted_values_in_edge(
    tangent: Float[Tensor, "batch 1 heads d_head"],
    probs: Float[Tensor, "batch tokens to heads"],
    summed_gradient: Float[Tensor, "batch tokens heads d_head"],
    token: int,
) -> Float[Tensor, "batch tokens to heads"]:
    """a * dv · z', in the token's column alone."""
    result = torch.zeros_like(probs)
    result[:, :, token] = probs[:, :, token] * (tangent * summed_gradient).sum(dim=-1)
    return result


@derives(
    _DST.MLP_IN_EDGE_ACTIVATION,
    tangent=TangentAlongWrite("neurons", holds_scale=True),
    post_act=Activation(_PLACE.MLP_POST_ACT),
    token=_TOKEN,
    where=downstream_of_node("neurons", with_gradient=False),
)
def in_own_row(tangent: Float[Tensor, "batch 1 neurons"], post_act: Neurons, token: int) -> Neurons:
    """The token's neurons in its row, and 0 in the others."""
    values = torch.zeros_like(values_of(post_act))
    if not isinstance(post_act, RoutedTensor):
        values[:, token] = tangent[:, 0]
        return values
    values[:, token] = post_act[:, token].of(tangent[:, 0])
    return post_act.with_values(values)


@derives(
    _DST.MLP_IN_EDGE_ATTRIBUTION,
    tangent=TangentAlongWrite("neurons", holds_scale=None),
    act_gradient=gradient(_PLACE.MLP_POST_ACT),
    token=_TOKEN,
    where=downstream_of_node("neurons", with_gradient=True),
)
def in_own_row_times_gradient(tangent: Float[Tensor, "batch 1 neurons"], act_gradient: Neurons, token: int) -> Neurons:
    """The token's neurons times their gradient in its row, and 0 in the others."""
    return product(in_own_row(tangent, act_gradient, token), act_gradient)
