"""Estimates of single nodes beside what really happens when each is taken out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import pandas

from neuron_explainer.activations.derived_scalars.derivation import derive_batch
from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.changes.ablating import ValueGiven, ablation_of
from neuron_explainer.attribution.changes.estimates import estimates_of
from neuron_explainer.attribution.changes.ranks import beside_measured
from neuron_explainer.attribution.changes.taken_out import direct_changes
from neuron_explainer.attribution.computing.batches import batches_of
from neuron_explainer.attribution.nodes_given import known_latent, node_named, one_or_several, pass_of_row
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.attribution.tables.nodes import NodeFilter, RankedNode, ranked_nodes
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import checked_number, finite_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_members import NamedMembers, member_of
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.loss import LossFunction


class Verified(NamedMembers):
    """What `verify` compares."""

    TOTAL = "total"
    """Activation times gradient, and the model run with the node overwritten."""
    DIRECT = "direct"
    """The direct effect, and the node's write taken out of the last residual stream alone."""


def verified(
    why: AttributionTables, n: SupportsIndex | Iterable[Any], kind: str, value: ValueGiven, reference: Any
) -> pandas.DataFrame:
    """The table; see `Attribution.verify`."""
    which = member_of(Verified, kind, "kind of verification")
    if which is Verified.DIRECT and (reference is not None or not _is_zero(value)):
        raise InvalidRequestError(
            'value and reference are for kind="total". Leave them out: "direct" takes writes out.'
        )
    nodes = _nodes(why, n, which, None if which is Verified.DIRECT else _that_take(value))
    estimate, measured = [0.0] * len(nodes), [0.0] * len(nodes)
    for number, asked in enumerate(why.inquiry.passes):
        places = [place for place, each in enumerate(nodes) if each.number == number]
        own = [nodes[place].node for place in places]
        if not own:
            continue
        if which is Verified.DIRECT:
            estimates, changes = direct_changes(why, number, own)
        else:
            names = [NodeName.of(node) for node in own]
            prompt = why.effects[number].prompt
            ablations = [ablation_of(why.asked_setting, name, value, reference, prompt) for name in names]
            estimates = estimates_of(why, number, own, ablations)
            changes = _changes(why, number, ablations)
        for place, guess, change in zip(places, estimates, changes, strict=True):
            estimate[place], measured[place] = guess * asked.coefficient, change * asked.coefficient
    return _table(why, nodes, estimate, measured)


def _is_zero(value: ValueGiven) -> bool:
    return finite_number(value) == 0


def _that_take(value: ValueGiven) -> Sequence[NodeType] | None:
    """The types of nodes that can be given a value; None for all.

    The attention weight of a pair has no mean over texts, and an embedding is a vector, not a number.
    """
    if isinstance(value, str) and value == "mean":
        return [node_type for node_type in NodeType if node_type is not NodeType.ATTENTION_HEAD]
    if finite_number(value):
        return [node_type for node_type in NodeType if node_type is not NodeType.TOKEN]
    return None


def _nodes(
    why: AttributionTables, n: SupportsIndex | Iterable[Any], kind: Verified, node_types: Sequence[NodeType] | None
) -> list[RankedNode]:
    if n is None or finite_number(n) is not None:
        column = "direct_effect" if kind is Verified.DIRECT else "total_effect"
        return ranked_nodes(why.groups, _coefficients(why), column, checked_number("n", n), NodeFilter(node_types))
    found = []
    given_nodes = one_or_several(n)
    for given, number in zip(given_nodes, _numbers_of_passes(why, n, given_nodes), strict=True):
        name = known_latent(why.asked_setting, node_named(given, why.effects[number].prompt.token_strings))
        if name.kind not in (*COMPONENTS, NodeKind.EMBEDDING):
            raise InvalidRequestError(
                f"{name} is not a head, neuron, latent or embedding, which are what verify takes. ablate takes a "
                "layer's MLP and attention too."
            )
        node = name.to_node_index()
        if not node.is_one_number:
            raise InvalidRequestError(
                f"{name} names several nodes. Name one, as in the tables: L26N1262@7, L23H3@14<-3. What all of them do "
                "together is value minus ablate(…).value."
            )
        found.append(RankedNode(number, node, 0.0))
    return found


def _numbers_of_passes(why: AttributionTables, table: Any, nodes: Sequence[Any]) -> list[int]:
    """The pass that each node is of: what the `answer` of a table's rows, or of a single row, says; else the first."""
    if hasattr(table, "columns"):
        nodes = [row for _, row in table.iterrows()]
    return [pass_of_row(why.inquiry.passes, node) for node in nodes]


def _coefficients(why: AttributionTables) -> list[float]:
    return [asked.coefficient for asked in why.inquiry.passes]


def _changes(why: AttributionTables, number: int, ablations: Sequence[Any]) -> list[float]:
    """What each ablation alone takes from the number of a pass: its value before, minus its value after."""
    setting, effects = why.asked_setting, why.effects[number]
    model = setting.config.get_or_create_model()
    changes: list[float] = []
    lengths = [len(effects.prompt.token_ids)] * len(ablations)
    with passes_bar(len(ablations), None if len(ablations) > _FEW else False, "verifying") as done:
        for batch in batches_of(lengths, model):
            stores = derive_batch(
                [effects.prompt.token_ids] * len(batch),
                DerivedScalarType.ALWAYS_ONE,
                setting.config,
                loss=cast("LossFunction", why.inquiry.objective(model, [number] * len(batch))),
                ablations=[[*setting.ablations, ablations[each]] for each in batch],
            )
            changes += [effects.value - float(store.loss or 0.0) for store in stores]
            done(len(batch))
    return changes


_FEW = 50


def _table(
    why: AttributionTables, nodes: Sequence[RankedNode], estimate: Sequence[float], measured: Sequence[float]
) -> pandas.DataFrame:
    index = pandas.Index([each.node for each in nodes], name="node", dtype=object)
    columns: dict[str, Any] = {"name": [str(NodeName.of(each.node)) for each in nodes]}
    if why.inquiry.is_by_answer:
        columns = {"answer": [why.inquiry.passes[each.number].answer for each in nodes], **columns}
    return beside_measured(columns, estimate, measured, index)
