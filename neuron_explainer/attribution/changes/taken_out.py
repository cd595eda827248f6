"""A node's write taken out of the last residual stream alone: what its direct effect is an account of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivation import derive_on_the_way
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.attribution.computing.last_residual import last_residual
from neuron_explainer.attribution.computing.logit_objective import LogitObjective
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.tables.nodes import direct_effects_of
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_DST = DerivedScalarType


def direct_changes(why: AttributionTables, number: int, nodes: Sequence[NodeIndex]) -> tuple[list[float], list[float]]:
    """Each node's direct effect, and what taking out its write changes when the final norm's scale is held constant.

    Raises:
        InvalidRequestError: the answer is a trace.
    """
    setting, effects = why.asked_setting, why.effects[number]
    model = setting.config.get_or_create_model()
    objective = why.inquiry.objective(model, [number])
    if not isinstance(objective, LogitObjective):
        raise InvalidRequestError('kind="direct" is for questions about logits. Of a trace, verify kind="total".')
    token_ids = effects.prompt.token_ids
    resid = last_residual(setting, token_ids)
    with_node = objective.held_value(resid, resid)
    changes = [with_node - objective.held_value(resid - _write(why, token_ids, node), resid) for node in nodes]
    return direct_effects_of(why.groups[number], nodes), changes


def _write(why: AttributionTables, token_ids: Sequence[int], node: NodeIndex) -> Tensor:
    """What a node writes: a vector at its token, zeros at the others."""
    setting = why.asked_setting
    if node.node_type is NodeType.TOKEN:
        store = derive_on_the_way(token_ids, _DST.RESID_POST_EMBEDDING, setting.config, ablations=setting.ablations)
        embedded = store.activations(_DST.RESID_POST_EMBEDDING)[None]
        token = int(node.tensor_indices[0])  # type: ignore[arg-type]
        write = torch.zeros_like(embedded)
        write[token] = embedded[token]
        return write
    config = replace(setting.config, node_index_for_attribution=node)
    store = derive_on_the_way(token_ids, _DST.SINGLE_NODE_WRITE, config, ablations=setting.ablations)
    return store.activations(_DST.SINGLE_NODE_WRITE)[node.layer_index]
