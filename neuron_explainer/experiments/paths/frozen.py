"""The first pass of path patching: what the senders change, with everything beside the direct paths frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.experiments.paths.senders import Sender
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.layers.block import residual_before
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_HEADS, _MLP, _NEURONS = _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES, _PLACE.RESID_DELTA_MLP, _PLACE.MLP_POST_ACT
_START = _PLACE.RESID_POST_EMBEDDING


class Frozen:
    """Two recorded runs, and the passes in which all is as in the one but for what senders have of the other.

    Args:
        model: the model.
        recorded: both runs, a row each, with the places that `places` names.
        original: the row of the run that is changed; the other row is what senders have.
        freezes_mlps: whether MLPs are frozen, too.
        last_layer: the last layer that must be frozen.
    """

    def __init__(
        self, model: Transformer, recorded: Recording, original: int, freezes_mlps: bool, last_layer: int
    ) -> None:
        self._model, self._recorded, self._original = model, recorded, original
        self._freezes_mlps, self._last_layer = freezes_mlps, last_layer

    @staticmethod
    def places(senders: Sequence[Sender], last_layer: int) -> list[tuple[ActivationLocationType, list[int]]]:
        """What must be recorded of both runs, layers included."""
        layers = list(range(last_layer + 1))
        nodes = [node for sender in senders for node in sender.nodes if node.kind is NodeKind.NEURON]
        with_neurons = sorted({node.layer for node in nodes if node.layer is not None})
        places = [(_HEADS, layers), (_MLP, layers), (_PLACE.RESID_POST_MLP, layers)]
        return [*places, (_NEURONS, with_neurons)] if with_neurons else places

    def start(self, layer: int, n_rows: int) -> Tensor:
        """The original residual stream that a layer reads, for so many rows: (rows, tokens, d_model)."""
        return self._rows(*residual_before(layer), n_rows)

    def sent(self, senders: Sequence[Sender]) -> tuple[int, Tensor, list[Intervention]]:
        """A pass with a row for each sender: its first layer, the residual stream there, and what takes part."""
        first = min(sender.first_layer for sender in senders)
        resid = self.start(first, len(senders))
        for row, node in _rows_of(senders, (NodeKind.EMBEDDING,), None):
            self._send(resid, row, node, _START, None)
        return first, resid, list(self._interventions(senders, first))

    def _interventions(self, senders: Sequence[Sender], first: int) -> Iterator[Intervention]:
        for layer in range(first, self._last_layer + 1):
            yield self._at(_HEADS, layer, partial(self._heads, senders, layer))
            neurons = _rows_of(senders, (NodeKind.NEURON,), layer)
            if neurons:
                # Recordings see what the neurons compute from the changed stream: it is what neurons receive.
                yield self._at(_NEURONS, layer, partial(self._neurons, neurons, layer), after_recording=True)
            mlps = _rows_of(senders, (NodeKind.MLP,), layer)
            if mlps or self._freezes_mlps:
                rows_with_neurons = sorted({row for row, _ in neurons})
                yield self._at(_MLP, layer, partial(self._mlp, mlps, rows_with_neurons, layer))

    def _at(
        self,
        place: ActivationLocationType,
        layer: int,
        fn: Callable[[Tensor], Tensor],
        *,
        after_recording: bool = False,
    ) -> Intervention:
        return self._model.intervention(place, layer, fn, after_recording=after_recording)

    def _heads(self, senders: Sequence[Sender], layer: int, tensor: Tensor) -> Tensor:
        frozen = self._rows(_HEADS, layer, len(tensor))
        for row, node in _rows_of(senders, (NodeKind.HEAD, NodeKind.ATTENTION), layer):
            self._send(frozen, row, node, _HEADS, layer)
        return frozen

    def _neurons(self, sent: Sequence[tuple[int, NodeName]], layer: int, tensor: Tensor) -> Tensor:
        if self._freezes_mlps:  # the rows of other senders get their MLP's write as a whole
            tensor = self._rows(_NEURONS, layer, len(tensor))
        for row, node in sent:
            self._send(tensor, row, node, _NEURONS, layer)
        return tensor

    def _mlp(
        self, sent: Sequence[tuple[int, NodeName]], rows_with_neurons: list[int], layer: int, tensor: Tensor
    ) -> Tensor:
        if self._freezes_mlps:
            frozen = self._rows(_MLP, layer, len(tensor))
            frozen[rows_with_neurons] = tensor[rows_with_neurons]
            tensor = frozen
        for row, node in sent:
            self._send(tensor, row, node, _MLP, layer)
        return tensor

    def _rows(self, place: ActivationLocationType, layer: int | None, n_rows: int) -> Tensor:
        """The original run's tensor, so many times, in memory of its own."""
        original = self._recorded[place, layer][self._original]
        return original.expand(n_rows, *original.shape).clone()

    def _send(self, tensor: Tensor, row: int, node: NodeName, place: ActivationLocationType, layer: int | None) -> None:
        """Put the other run's numbers of a node into a row."""
        other = self._recorded[place, layer][1 - self._original]
        position = slice(None) if node.token_index is None else node.token_index
        if isinstance(node.component, int):
            tensor[row, position, node.component] = other[position, node.component]
        else:
            tensor[row, position] = other[position]


def _rows_of(senders: Sequence[Sender], kinds: Sequence[NodeKind], layer: int | None) -> list[tuple[int, NodeName]]:
    """The nodes of some kinds in a layer, each with the row of its sender."""
    return [
        (row, node)
        for row, sender in enumerate(senders)
        for node in sender.nodes
        if node.kind in kinds and node.layer == layer
    ]
