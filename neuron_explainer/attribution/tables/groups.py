"""The nodes of an answer, in groups: those of one kind in one layer of one pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.passes import LATENTS
from neuron_explainer.attribution.tables.write_norms import WriteNorms
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, values_of
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType, PassType

_DST = DerivedScalarType


@dataclass(frozen=True, eq=False)
class Group:
    """The nodes of one kind in one layer.

    Attributes:
        node_type: their kind.
        layer: their layer; None for embeddings.
        rows: the positions of the rows of `direct`.
        activation: (tokens, components), or (tokens, attended_to, heads).
        total: activation times gradient, in the same shape.
        direct: direct effects at the rows, (rows, …); None where other parts stand for these nodes.
        write_norms: gives the norms of their writes.
    """

    node_type: NodeType
    layer: int | None
    rows: tuple[int, ...]
    activation: Neurons
    total: Neurons
    direct: Neurons | None
    write_norms: WriteNorms

    @property
    def has_pairs(self) -> bool:
        """Whether a node is at a pair of tokens."""
        return self.node_type is NodeType.ATTENTION_HEAD

    @cached_property
    def write_norm(self) -> Neurons:
        """The norms of the nodes' writes, with the sign of the activation, in the shape of `activation`."""
        return self.write_norms.of(self.node_type, self.layer, self.activation)

    def numbers(self, column: str) -> Neurons | None:
        """The group's numbers in a column of the table; None where it has none, or where they need the model."""
        if column == "write_norm" and not self.write_norms.are_known(self.node_type):
            return None
        return self.to_rank(column)

    def to_rank(self, column: str) -> Neurons | None:
        """The group's numbers in a column of the table; None where it has none.

        Raises:
            MisconfiguredError: they need the model, which is not there.
        """
        numbers: Neurons | None = getattr(self, column.removesuffix("_effect"))
        return numbers

    def summed_total(self) -> Tensor:
        """Each component's total effect, summed over tokens: (components)."""
        return _summed(self.total, 2 if self.has_pairs else 1)

    def summed_direct(self) -> Tensor | None:
        """Each component's direct effect, summed over rows and tokens attended to: (components)."""
        return None if self.direct is None else _summed(self.direct, 2 if self.has_pairs else 1)


def _summed(numbers: Neurons, n_axes: int) -> Tensor:
    if not isinstance(numbers, RoutedTensor):
        # In memory in one order: the sum's rounding depends on it, and a file has no other order.
        return numbers.contiguous().flatten(0, n_axes - 1).sum(0)
    summed = values_of(numbers).new_zeros(numbers.n_experts, numbers.d_expert)
    summed.index_add_(0, numbers.experts.flatten(), numbers.values.flatten(0, -2))
    return summed.flatten()


def groups_of(effects: Effects, write_norms: WriteNorms, *, only_parts: bool = True) -> Iterator[Group]:
    """The groups of one pass: embeddings, then layer by layer heads, latents and neurons.

    Args:
        effects: the pass.
        write_norms: gives the norms of writes.
        only_parts: without the heads and neurons that an autoencoder stands for, or that are not upstream.
    """
    store, rows = effects.store, effects.rows

    def by_layer(dst: DerivedScalarType) -> dict[int | None, Neurons]:
        return dict(store.kept[dst, PassType.FORWARD])

    if effects.embedding is not None:
        norms, totals = by_layer(_DST.RESID_POST_EMBEDDING_NORM), by_layer(_DST.TOKEN_ATTRIBUTION)
        direct = effects.embedding.whole[:, None]
        yield Group(NodeType.TOKEN, None, rows, norms[None], totals[None], direct, write_norms)
    probs, of_heads = by_layer(_DST.ATTN_QK_PROBS), by_layer(_DST.UNFLATTENED_ATTN_ACT_TIMES_GRAD)
    post_act, of_neurons = by_layer(_DST.MLP_POST_ACT), by_layer(_DST.MLP_ACT_TIMES_GRAD)
    latents = {kind: (by_layer(lat), by_layer(total)) for kind, (lat, total) in LATENTS.items() if lat in store}
    for layer in probs:
        if layer in effects.attention or not only_parts:
            by_pair = effects.attention[layer].by_pair if layer in effects.attention else None
            yield Group(NodeType.ATTENTION_HEAD, layer, rows, probs[layer], of_heads[layer], by_pair, write_norms)
        for kind, (lat, total) in latents.items():
            if layer in lat and layer is not None:
                parts = effects.latents.get((kind, layer))
                direct_of = None if parts is None else parts.latents
                yield Group(kind, layer, rows, lat[layer], total[layer], direct_of, write_norms)
        if layer in effects.mlp or not only_parts:
            neurons = effects.mlp[layer].neurons if layer in effects.mlp else None
            yield Group(NodeType.MLP_NEURON, layer, rows, post_act[layer], of_neurons[layer], neurons, write_norms)


def entries(numbers: Neurons, index: tuple[Tensor, ...]) -> Tensor:
    """Single numbers, by index tensors for all axes; those of experts that were not chosen are 0."""
    if not isinstance(numbers, RoutedTensor):
        return numbers[index]
    *axes, neuron = index
    expert, within = torch.div(neuron, numbers.d_expert, rounding_mode="floor"), neuron % numbers.d_expert
    is_chosen = numbers.experts[tuple(axes)] == expert[:, None]
    candidates = numbers.values[tuple(axes)].gather(-1, within[:, None, None].expand(-1, numbers.experts.shape[-1], 1))
    return (candidates.squeeze(-1) * is_chosen).sum(-1)
