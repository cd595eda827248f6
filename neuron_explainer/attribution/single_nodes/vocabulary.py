"""What a node's write does to the logits at its own token: the tokens that it raises, and those that it lowers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.computing.last_residual import last_residual
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.computing.readout import logits_of_write
from neuron_explainer.attribution.nodes_given import NodeOrRow, node_named, pass_of_row
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.single_nodes.given import all_groups, component_given
from neuron_explainer.attribution.single_nodes.places import at_one_place, check_pair
from neuron_explainer.attribution.single_nodes.written import write_of
from neuron_explainer.attribution.tables.groups import Group
from neuron_explainer.attribution.tables.tokens import token_sums
from neuron_explainer.attribution.tracing.asking import bound_of
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.vocabulary.checks import checked_layer

if TYPE_CHECKING:
    import pandas

_WHOLE = {NodeKind.EMBEDDING: "embedding", NodeKind.MLP: "mlp", NodeKind.ATTENTION: "attention_from"}
"""The kinds of which there is one at a token, and the column of the table of tokens that has its total effect."""


def final_scales(setting: Setting, effects: Effects) -> Float[Tensor, "tokens 1"]:
    """The final norm's scale at each token; of a trace, and of an answer that was read from a file, by another pass."""
    if effects.final_scales is not None:
        return effects.final_scales
    norm = setting.config.get_or_create_model().final_norm
    return norm.scale(at_least_float32(last_residual(setting, effects.prompt.token_ids)))


def written_tokens(
    why: AttributionTables, node: NodeOrRow, n: int, scales: Sequence[Float[Tensor, "tokens 1"]]
) -> pandas.DataFrame:
    """See `Attribution.writes`. `scales` are the final norm's, of each pass."""
    from neuron_explainer.activations.token_table import TokenTable

    number, setting = pass_of_row(why.inquiry.passes, node), why.asked_setting
    name, group = _at_its_token(why, node, number)
    model, token = setting.config.get_or_create_model(), int(name.token_index or 0)
    write = write_of(bound_of(setting), setting, why.effects[number], name, group)
    with torch.no_grad():
        logits = logits_of_write(model, write[None], scales[number][token : token + 1])[0].double()
        logits = logits - logits.mean()
        order = logits.argsort(descending=True).tolist()
    chosen = order if len(order) <= 2 * n else [*order[:n], *order[-n:]]
    numbers = logits[chosen].tolist()
    table = TokenTable({"token": why.texts_of(chosen), "token_id": chosen, "logit": numbers})
    table.attrs["node"] = str(name)
    return table


def _at_its_token(why: AttributionTables, node: NodeOrRow, number: int) -> tuple[NodeName, Group | None]:
    """The node at a token, and the nodes of its layer; None for what is not one of many."""
    effects = why.effects[number]
    name = node_named(node, effects.prompt.token_strings)
    if name.kind in COMPONENTS:
        name, group = component_given(why, node, "write", number)
        is_head_at_token = name.kind is NodeKind.HEAD and name.token_index is not None
        if not is_head_at_token:
            return at_one_place(name, group), group
        check_pair(name)
        return name, group
    if name.kind not in _WHOLE:
        raise InvalidRequestError(
            f"{name} has no write of its own. Give a head, neuron, latent or embedding, or a layer's MLP or attention, "
            "such as L23H3@14, L26N1262@7, EMB@3 or L5MLP@3."
        )
    if name.layer is not None:
        checked_layer(name.layer, why.model.n_layers, why.model.model_name)
    if name.token_index is not None:
        return name, None
    groups = all_groups(why, number)
    sums = token_sums([group for group in groups if group.layer == name.layer], effects, 1.0).get(name.layer, {})
    by_token = sums.get(_WHOLE[name.kind])
    if by_token is None:
        last = len(effects.prompt.token_ids) - 1
        raise InvalidRequestError(f"{name} has no total effects in this answer. Name a token, as in {name}@{last}.")
    return replace(name, token=int(by_token.abs().argmax())), None
