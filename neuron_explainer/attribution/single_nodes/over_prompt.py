"""One component over the prompt: its activations and total effects, and the pattern of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.attribution.nodes_given import NodeOrRow, node_named, pass_of_row
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.single_nodes.given import component_given
from neuron_explainer.attribution.single_nodes.places import of_component
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.routed import dense
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType

if TYPE_CHECKING:
    import pandas


def activation_table(why: AttributionTables, node: NodeOrRow) -> pandas.DataFrame:
    """See `Attribution.activations_of`."""
    from neuron_explainer.activations.token_table import TokenTable

    number = pass_of_row(why.inquiry.passes, node)
    name, group = component_given(why, node, "activations over the prompt", number)
    tokens = why.effects[number].prompt.token_strings
    activation, total = (
        of_component(each, int(name.component)).detach().double().cpu()  # type: ignore[arg-type]
        for each in (group.activation, group.total)
    )
    total = total * why.inquiry.passes[number].coefficient
    if name.kind is not NodeKind.HEAD:
        numbers = {"activation": activation.tolist(), "total_effect": total.tolist()}
        return TokenTable({"token": tokens, "position": range(len(tokens)), **numbers})
    texts, (positions, attended_to) = np.array(tokens, dtype=object), np.tril_indices(len(tokens))
    return TokenTable(
        {
            "token": texts[positions],
            "position": positions,
            "attended_to": texts[attended_to],
            "attended_to_position": attended_to,
            "activation": activation.numpy()[positions, attended_to],
            "total_effect": total.numpy()[positions, attended_to],
        }
    )


def pattern_of(why: AttributionTables, head: NodeOrRow) -> Float[Tensor, "tokens to"]:
    """See `Attribution.pattern`."""
    number = pass_of_row(why.inquiry.passes, head)
    named = node_named(head, why.effects[number].prompt.token_strings)
    if named.kind is not NodeKind.HEAD:
        raise InvalidRequestError(f"{named} has no attention pattern. Give one head, such as L23H3.")
    name, group = component_given(why, head, "attention pattern", number)
    return of_component(group.activation, int(name.component)).detach().float().cpu()  # type: ignore[arg-type]


def patterns_of(why: AttributionTables, number: int = 0) -> dict[int, Float[Tensor, "tokens to heads"]]:
    """See `Attribution.patterns`."""
    kept = why.effects[number].store.kept[DerivedScalarType.ATTN_QK_PROBS, PassType.FORWARD]
    return {layer: dense(probs) for layer, probs in kept.items() if layer is not None}
