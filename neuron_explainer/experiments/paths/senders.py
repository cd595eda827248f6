"""The senders of paths: heads, neurons, and layers' attention and MLPs, one after the other or several together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.nodes_given import one_or_several
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.experiments.paths.order import check_exists, node_on_path, reads_before, writes_at
from neuron_explainer.models.transformer import Transformer

SendersGiven = Any
"""A node by name, index or row of a table; a table of them; several, of which each may be several that send together;
or "heads"."""

_KINDS = (NodeKind.HEAD, NodeKind.NEURON, NodeKind.MLP, NodeKind.ATTENTION, NodeKind.EMBEDDING)
_FORMS = "L3H2 (head), L5N131 (neuron), L5MLP, L5ATTN or EMB, each with @7 or @' Mary' for a token if wanted"


@dataclass(frozen=True)
class Sender:
    """What sends along paths: one node, or several together.

    Attributes:
        nodes: the nodes; a token may be a text, and counts for each prompt by itself.
    """

    nodes: tuple[NodeName, ...]

    @property
    def label(self) -> str:
        """The nodes' names."""
        return " + ".join(map(str, self.nodes))

    @property
    def whole_label(self) -> str:
        """The nodes' names without their tokens."""
        return " + ".join(node.component_name for node in self.nodes)

    @property
    def only(self) -> NodeName | None:
        """The node, if it is one."""
        return self.nodes[0] if len(self.nodes) == 1 else None

    @property
    def first_layer(self) -> int:
        """The first layer that it changes anything in."""
        return min(node.layer or 0 for node in self.nodes)

    def resolved(self, tokens: Sequence[str]) -> Sender:
        """The same in a prompt: tokens as positions."""
        return Sender(tuple(node.resolved(tokens) for node in self.nodes))

    def at_positions(self, n_tokens: int) -> Iterator[Sender]:
        """The sender at each position by itself.

        Raises:
            InvalidRequestError: a node has a token already.
        """
        if any(node.token is not None for node in self.nodes):
            raise InvalidRequestError(f"{self.label} has a token. With by='position' leave the token out.")
        for position in range(n_tokens):
            yield Sender(tuple(replace(node, token=position) for node in self.nodes))


def read_senders(model: Transformer, given: SendersGiven, receivers: Sequence[NodeName]) -> list[Sender]:
    """The senders, read and checked.

    Args:
        model: the model.
        given: what the caller gave.
        receivers: what they send to.

    Raises:
        NodeNameError, InvalidIndexError: one is not a node's name, or in none of the forms of a node.
        InvalidRequestError: one is of another kind, is not in the model, or does not come before any receiver; or
            there are none.
    """
    last_read = max(reads_before(receiver, model) for receiver in receivers)
    if isinstance(given, str) and given.strip().lower() in ("heads", "mlps"):
        senders = [Sender((node,)) for node in _all_of(model, given.strip().lower(), last_read)]
        if not senders:
            raise InvalidRequestError("No layer comes before the receivers. Choose receivers in later layers.")
        return senders
    entries = one_or_several(given)
    senders = list(chain.from_iterable(_of_entry(model, entry, last_read) for entry in entries))
    if not senders:
        raise InvalidRequestError(f"senders is {shown(given)}. Give nodes, such as {_FORMS}; or 'heads' or 'mlps'.")
    return senders


def _all_of(model: Transformer, what: str, last_read: int) -> Iterator[NodeName]:
    for layer in range(model.config.n_layers):
        heads = [NodeName(NodeKind.HEAD, layer, head) for head in range(model.config.n_heads)]
        nodes = heads if what == "heads" else [NodeName(NodeKind.MLP, layer)]
        yield from (node for node in nodes if writes_at(node) < last_read)


def _of_entry(model: Transformer, entry: object, last_read: int) -> list[Sender]:
    if isinstance(entry, list | tuple):
        together = [node for part in entry for node in _nodes(model, part, last_read)]
        return [Sender(tuple(together))] if together else []
    return [Sender((node,)) for node in _nodes(model, entry, last_read)]


def _nodes(model: Transformer, given: Any, last_read: int) -> list[NodeName]:
    """One node, or all heads of a layer for L3H*."""
    name = node_on_path(given, "sender", f"{_FORMS}; or 'heads' or 'mlps' alone")
    fields = (name.channel, name.attended_to, name.part)
    if name.kind not in _KINDS or fields != (None, None, None):
        raise InvalidRequestError(f"{name} cannot send: it is not one of these. Choose one of: {_FORMS}.")
    check_exists(name, model)
    if writes_at(name) >= last_read:
        raise InvalidRequestError(
            f"{name} does not come before any receiver, so there is no path from it. Give senders in earlier layers, "
            "or receivers in later ones."
        )
    if name.component != "All":
        return [name]
    size = model.config.n_heads if name.kind is NodeKind.HEAD else model.config.d_mlp
    return [replace(name, component=number) for number in range(size)]
