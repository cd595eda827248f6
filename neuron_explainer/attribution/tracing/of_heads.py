"""Traces of heads: the attention logit through query, key or both, and the write through the value."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.indexing import AttentionTraceType
from neuron_explainer.attribution.tracing.trace_objective import TraceObjective
from neuron_explainer.vocabulary.nodes import NodeType

_TYPE = AttentionTraceType


class AttentionLogitTrace(TraceObjective):
    """A head's attention logit from one token to another, before a soft cap and before the softmax.

    Through the query, the key stays what it was in the pass that the trace is about, and the other way round. Through
    both the logit is a product of two affine functions, so the parts sum to its linearisation.

    Args:
        bound: the model.
        layer, token, attended_to, head: which one.
        through: Q, K or QK.
    """

    def __init__(
        self, bound: BoundConfig, layer: int, token: int, attended_to: int, head: int, through: AttentionTraceType
    ) -> None:
        super().__init__(*bound.read_by(NodeType.ATTENTION_HEAD, layer))
        self._bound, self._block, self._through = bound, bound.block(layer), through
        self._token, self._attended_to, self._head = token, attended_to, head
        self._query: Tensor | None = None
        self._key: Tensor | None = None
        self.is_affine = through is not _TYPE.QK

    def begin(self, resid: Float[Tensor, "batch tokens d_model"]) -> None:
        """Note the query or key that the trace does not go through."""
        query, key = self._query_and_key(resid, hold_scales=True)
        self._query = query[:1] if self._through is _TYPE.K else None
        self._key = key[:1] if self._through is _TYPE.Q else None

    def activation(self, resid: Float[Tensor, "batch tokens d_model"], hold_scales: bool) -> Float[Tensor, " batch"]:
        """The product of query and key."""
        query, key = self._query_and_key(resid, hold_scales)
        query = query if self._query is None else self._query
        key = key if self._key is None else self._key
        return (query * key).sum(dim=-1)

    def capped(self, value: float) -> float:
        """The logit after the soft cap of attention logits, if the family has one."""
        cap = self._block.attention.softcap
        return value if cap is None else math.tanh(value / cap) * cap

    def _query_and_key(self, resid: Tensor, hold_scales: bool) -> tuple[Tensor, Tensor]:
        before = recompute.up_to(self._bound, resid, self._token)
        normed = self._block.attention_input(before, hold_scales)
        query = self._block.queries(normed, detach_scale=hold_scales)[:, self._token, self._head]
        key = self._block.keys(normed, detach_scale=hold_scales)[:, self._attended_to, self._head]
        return query, key


class ValueTrace(TraceObjective):
    """A head's write from one token to another through its value, projected on a constant direction.

    Args:
        bound: the model.
        layer, token, attended_to, head: which one.
        weight: the attention weight in the pass that the trace is about.
        direction: what the write is projected on, before the norm of attention's output if there is one.
    """

    def __init__(
        self,
        bound: BoundConfig,
        layer: int,
        token: int,
        attended_to: int,
        head: int,
        weight: float,
        direction: Float[Tensor, " d_model"],
    ) -> None:
        super().__init__(*bound.read_by(NodeType.ATTENTION_HEAD, layer))
        self._bound, self._block, self._token = bound, bound.block(layer), token
        self._attended_to, self._head = attended_to, head
        output = self._block.attention.output_by_head()[head]
        with torch.no_grad():
            self._among_values = (output.to(direction.dtype) @ direction) * weight

    def activation(self, resid: Float[Tensor, "batch tokens d_model"], hold_scales: bool) -> Float[Tensor, " batch"]:
        """The value's part of the write."""
        values = recompute.values(self._block, resid[:, : self._attended_to + 1], hold_scales)
        return values[:, self._attended_to, self._head].to(self._among_values.dtype) @ self._among_values
