"""Estimates of single nodes beside what really happens when each is taken out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import pandas

from neuron_explainer.activations.derived_scalars.derivation import derive_batch
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.changes.ablating import ValueGiven, ablation_of, one_or_several
from neuron_explainer.attribution.changes.estimates import estimates_of
from neuron_explainer.attribution.changes.taken_out import direct_changes
from neuron_explainer.attribution.computing.batches import batches_of
from neuron_explainer.attribution.nodes_given import node_named
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.attribution.tables.nodes import NodeFilter, RankedNode, ranked_nodes
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import checked_number, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_members import NamedMembers, member_of
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.loss import LossFunction
    from neuron_explainer.attribution.attribution import Attribution


class Verified(NamedMembers):
    """What `verify` compares."""

    TOTAL = "total"
    """Activation times gradient, and the model run with the node overwritten."""
    DIRECT = "direct"
    """The direct effect, and the node's write taken out of the last residual stream alone."""


def verified(
    why: Attribution, n: SupportsIndex | Iterable[Any], kind: str, value: ValueGiven, reference: Any
) -> pandas.DataFrame:
    """The table; see `Attribution.verify`."""
    which = member_of(Verified, kind, "kind of verification")
    has_means_alone = isinstance(value, str) and value == "mean"
    nodes = _nodes(why, n, which, None if not has_means_alone else _WITH_MEANS)
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
            ablations = [ablation_of(why.asked_setting, name, value, reference) for name in names]
            estimates = estimates_of(why, number, own, ablations)
            changes = _changes(why, number, ablations)
        for place, guess, change in zip(places, estimates, changes, strict=True):
            estimate[place], measured[place] = guess * asked.coefficient, change * asked.coefficient
    return _table(why, nodes, estimate, measured)


_WITH_MEANS = tuple(node_type for node_type in NodeType if node_type is not NodeType.ATTENTION_HEAD)
"""Nodes whose activation has a mean over texts; the attention weight of a pair has none."""


def _nodes(
    why: Attribution, n: SupportsIndex | Iterable[Any], kind: Verified, node_types: Sequence[NodeType] | None
) -> list[RankedNode]:
    if whole_number(n) is not None or not isinstance(n, Iterable) or isinstance(n, str):
        if isinstance(n, str):
            return _nodes(why, [n], kind, None)
        column = "direct_effect" if kind is Verified.DIRECT else "total_effect"
        return ranked_nodes(why.groups, _coefficients(why), column, checked_number("n", n), NodeFilter(node_types))
    tokens = why.effects[0].prompt.token_strings
    found = []
    for given in one_or_several(n) if hasattr(n, "columns") else n:
        node = node_named(given, tokens).to_node_index()
        if not node.is_one_number:
            raise InvalidRequestError(
                f"{NodeName.of(node)} names all tokens. Name one, as in the tables: L26N1262@7, L23H3@14<-3."
            )
        found.append(RankedNode(0, node, 0.0))
    return found


def _coefficients(why: Attribution) -> list[float]:
    return [asked.coefficient for asked in why.inquiry.passes]


def _changes(why: Attribution, number: int, ablations: Sequence[Any]) -> list[float]:
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
    why: Attribution, nodes: Sequence[RankedNode], estimate: Sequence[float], measured: Sequence[float]
) -> pandas.DataFrame:
    index = pandas.Index([each.node for each in nodes], name="node", dtype=object)
    from neuron_explainer.activations.token_table import TokenTable

    columns: dict[str, Any] = {
        "name": [str(NodeName.of(each.node)) for each in nodes],
        "estimate": list(estimate),
        "measured": list(measured),
    }
    if len(why.effects) > 1:
        columns = {"answer": [why.inquiry.passes[each.number].answer for each in nodes], **columns}
    table = TokenTable(columns, index=index)
    ranks = table[["estimate", "measured"]].rank(ascending=False).rename(columns=lambda name: f"{name}_rank")
    table = TokenTable(table.join(ranks) if index.is_unique else pandas.concat([table, ranks], axis=1))
    table.attrs["spearman"] = _spearman(estimate, measured)
    return table


def _spearman(estimate: Sequence[float], measured: Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, those of equal numbers averaged. NaN of fewer than two."""
    if len(estimate) < 2:
        return float("nan")
    ranks = pandas.DataFrame({"estimate": list(estimate), "measured": list(measured)}).rank()
    return float(ranks["estimate"].corr(ranks["measured"]))
