"""The receivers of paths: the inputs of heads (queries, keys, values), of MLPs and neurons; or the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.nodes_given import one_or_several
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.experiments.paths.order import check_exists, node_on_path
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import PlaceAndLayer, Recording
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

ReceiversGiven = Any
"""A node by name, or with its part as ("L9H6", "q"); several; or "logits"."""

_PLACE = ActivationLocationType
_PARTS = ("q", "k", "v")
_PLACE_OF_PART = {"q": _PLACE.ATTN_QUERY, "k": _PLACE.ATTN_KEY, "v": _PLACE.ATTN_VALUE}
_END = NodeName(NodeKind.FINAL)
_FORMS = "L9H6/q, L9H6/k, L9H6/v, L9H6 (all three), L9MLP or L9N131, each with @7 for a token if wanted; 'logits' alone"


@dataclass(frozen=True)
class Receivers:
    """What receives along paths.

    Attributes:
        nodes: the nodes, of heads one for each of query, key and value; the final norm alone stands for the logits.
        label: how they were named.
    """

    nodes: tuple[NodeName, ...]
    label: str

    @property
    def are_logits(self) -> bool:
        """Whether it is the logits alone, at the end of the first pass."""
        return self.nodes == (_END,)

    @property
    def layers(self) -> list[int]:
        """The layers of the nodes, ascending."""
        return sorted({node.layer for node in self.nodes if node.layer is not None})

    @property
    def places(self) -> list[PlaceAndLayer]:
        """Where their inputs are recorded."""
        return list(dict.fromkeys((_place_of(node), node.layer) for node in self.nodes if node.layer is not None))

    def since(self, layer: int) -> Receivers:
        """Those from a layer on: nothing that is sent there reaches the others."""
        nodes = tuple(node for node in self.nodes if node.layer is not None and node.layer >= layer)
        return replace(self, nodes=nodes)

    def check_tokens(self, tokens: Sequence[str]) -> None:
        """Refuse tokens that a prompt does not have.

        Raises:
            NodeNameError, IndexOutOfRangeError: the prompt has no such token, or several.
        """
        for node in self.nodes:
            node.resolved(tokens)

    def interventions(self, model: Transformer, recorded: Recording, tokens: Sequence[str]) -> list[Intervention]:
        """What gives the receivers, and nothing else, the inputs that were recorded; a row for each prompt."""
        return [
            model.intervention(
                place, layer, partial(_received, recorded[place, layer], self._where(place, layer, tokens))
            )
            for place, layer in self.places
        ]

    def _where(
        self, place: ActivationLocationType, layer: int | None, tokens: Sequence[str]
    ) -> list[tuple[slice, int | slice]]:
        """The positions and components at a place that receive."""
        found: list[tuple[slice, int | slice]] = []
        for node in self.nodes:
            if (_place_of(node), node.layer) == (place, layer):
                position = node.resolved(tokens).token_index
                at = slice(None) if position is None else slice(position, position + 1)
                found.append((at, node.component if isinstance(node.component, int) else slice(None)))
        return found


def _place_of(node: NodeName) -> ActivationLocationType:
    if node.kind is NodeKind.HEAD:
        return _PLACE_OF_PART[str(node.part)]
    return _PLACE.MLP_POST_ACT if node.kind is NodeKind.NEURON else _PLACE.RESID_POST_ATTN_LAYER_NORM


def _received(values: Tensor, where: Sequence[tuple[slice, int | slice]], tensor: Tensor) -> Tensor:
    for positions, component in where:
        tensor[:, positions, component] = values[:, positions, component]
    return tensor


def read_receivers(model: Transformer, given: ReceiversGiven) -> Receivers:
    """The receivers, read and checked.

    Raises:
        NodeNameError, InvalidIndexError: one is not a node's name, or in none of the forms of a node.
        InvalidRequestError: one is of another kind or not in the model; there are none; or the logits are among others.
    """
    entries = _entries(given)
    if any(_is_logits(entry) for entry in entries):
        if len(entries) > 1:
            raise InvalidRequestError(
                "The logits are the last receiver: what others receive would not be seen. Give 'logits' alone."
            )
        return Receivers((_END,), "logits")
    names = [_named(entry) for entry in entries]
    if not names:
        raise InvalidRequestError(f"receivers is {shown(given)}. Give {_FORMS}.")
    for name in names:
        check_exists(name, model)
    nodes = dict.fromkeys(node for name in names for node in _inputs(name))
    return Receivers(tuple(nodes), ", ".join(map(str, dict.fromkeys(names))))


def _entries(given: object) -> list[object]:
    return [given] if _is_with_part(given) else one_or_several(given)


def _is_with_part(given: object) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and given[1] in (*_PARTS, "qk")


def _is_logits(entry: object) -> bool:
    return isinstance(entry, str) and entry.strip().lower() == "logits"


def _named(entry: Any) -> NodeName:
    part: Any = None
    if _is_with_part(entry):
        entry, part = entry
    name = node_on_path(entry, "receiver", _FORMS)
    is_right_kind = name.kind in (NodeKind.HEAD, NodeKind.MLP, NodeKind.NEURON)
    if not is_right_kind or name.component == "All" or (name.channel, name.attended_to) != (None, None):
        raise InvalidRequestError(f"{name} cannot receive. Choose one of: {_FORMS}.")
    return name if part is None else _with_part(name, part)


def _inputs(name: NodeName) -> list[NodeName]:
    """Of a head, one for each of its inputs that receives."""
    if name.kind is not NodeKind.HEAD:
        return [name]
    parts = {None: _PARTS, "qk": ("q", "k")}.get(name.part, (name.part,))
    return [_with_part(name, part) for part in parts]


def _with_part(name: NodeName, part: Any) -> NodeName:
    return replace(name, part=part)
