"""What one node writes to the residual stream at its token, from what an answer keeps of its pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivation import derive_on_the_way
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.computing.attention_parts import attention_parts
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.mlp_parts import mlp_parts
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.computing.replaced import ablations_at, replaced_at
from neuron_explainer.attribution.computing.rows import Rows
from neuron_explainer.attribution.single_nodes.places import of_component
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.attribution.tables.write_norms import latent_rows
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.routed import dense, one_neuron
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.places import ActivationLocationType

_DST = DerivedScalarType
_PLACE = ActivationLocationType
_WRITTEN = {
    NodeKind.EMBEDDING: _DST.RESID_POST_EMBEDDING,
    NodeKind.MLP: _DST.RESID_DELTA_MLP,
    NodeKind.ATTENTION: _DST.RESID_DELTA_ATTN,
}
"""What a pass records of the kinds whose writes an answer does not keep."""


@torch.inference_mode(mode=False)
def write_of(
    bound: BoundConfig, setting: Setting, effects: Effects, name: NodeName, group: Group | None
) -> Float[Tensor, " d_model"]:
    """What a node adds to the residual stream at its token.

    The direct effect of a node is its write times a direction. So the write is the gradient of that product with
    respect to the direction, and the code that computes direct effects says what every node writes.

    Args:
        bound: the setting, bound to its model.
        setting: the model, autoencoders and ablations.
        effects: the pass.
        name: the node, at its token.
        group: the nodes of its layer; None for an embedding, and for a layer's MLP or attention.
    """
    if group is None:
        return _recorded(setting, effects.prompt.token_ids, _WRITTEN[name.kind], name.layer)[_token(name)]
    if name.kind is NodeKind.LATENT:
        return _of_latent(setting, effects, name, group)
    positions = torch.tensor([[_token(name)]], dtype=torch.int64, device=effects.directions.device)
    with torch.enable_grad():
        direction = effects.directions.new_zeros(1, 1, effects.directions.shape[-1]).requires_grad_()
        rows = Rows(positions, direction)
        of_node = _head if name.kind is NodeKind.HEAD else _neuron
        (write,) = torch.autograd.grad(of_node(bound, setting, effects, name, group, rows), direction)
    return write[0, 0]


def _head(bound: BoundConfig, setting: Setting, effects: Effects, name: NodeName, group: Group, rows: Rows) -> Tensor:
    layer, head = _numbers(name)
    values = effects.store.activations(_DST.ATTN_VALUE)[layer][None]
    summed = None
    if ablations_at(bound, _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES, layer):  # no longer the sum of what is kept
        summed = _recorded(setting, effects.prompt.token_ids, _DST.ATTN_WEIGHTED_SUM_OF_VALUES, layer)[None]
    parts = attention_parts(
        rows,
        dense(group.activation)[None],
        values,
        summed,
        delta=None,
        heads_replaced=replaced_at(bound, _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES, layer),
        layer_replaced=replaced_at(bound, _PLACE.RESID_DELTA_ATTN, layer),
        block=bound.block(layer),
    )
    by_pair = parts.by_pair[0, 0, :, head]
    if name.attended_to_index is not None:
        return by_pair[name.attended_to_index]
    return by_pair.sum() + parts.as_set[0, 0, head]


def _neuron(bound: BoundConfig, setting: Setting, effects: Effects, name: NodeName, group: Group, rows: Rows) -> Tensor:
    layer, neuron = _numbers(name)
    replaced = replaced_at(bound, _PLACE.RESID_DELTA_MLP, layer)
    parts = mlp_parts(
        rows, group.activation[None], delta=None, bias=None, layer_replaced=replaced, block=bound.block(layer)
    )
    return one_neuron(parts.neurons, 0, neuron)[0]


def _of_latent(setting: Setting, effects: Effects, name: NodeName, group: Group) -> Tensor:
    layer, latent = _numbers(name)
    scale = effects.latent_scales[group.node_type, layer]
    which = torch.tensor([latent], dtype=torch.int64, device=effects.directions.device)
    row = latent_rows(setting.config, group.node_type, layer, which, scale)[0]
    write = at_least_float32(row) * at_least_float32(of_component(group.activation, latent)[_token(name)])
    return write if scale.factor is None else write * scale.factor[_token(name)]


def _recorded(setting: Setting, token_ids: Sequence[int], dst: DerivedScalarType, layer: int | None) -> Tensor:
    """One activation of a pass, in one layer."""
    config = setting.config if layer is None else replace(setting.config, layer_indices=[layer])
    return derive_on_the_way(token_ids, dst, config, ablations=setting.ablations).activations(dst)[layer]


def _numbers(name: NodeName) -> tuple[int, int]:
    return int(name.layer or 0), int(name.component)  # type: ignore[arg-type]


def _token(name: NodeName) -> int:
    return int(name.token_index or 0)
