"""Recordings and interventions: which tensors of a forward pass are kept or replaced, by place and layer.

The order at one place is: interventions in order of entry, then recordings, then the interventions that come after
recordings. Interventions on gradients act on the gradient of the recorded tensor, in order of entry too. Places that
are neither recorded nor intervened on cost nothing.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import cast, overload

from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.hooks.intervention import GradientReplaced, Intervention
from neuron_explainer.models.hooks.recording import PlaceAndLayer, Recording
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor
from neuron_explainer.models.layers.span import Span
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layer, whole_number
from neuron_explainer.vocabulary.hook_names import hook_place, place_and_layer
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

PlaceRequest = ActivationLocationType | str | tuple[ActivationLocationType | str, LayersGiven]
"""A place in all its layers, a (place, layers) pair, or the name of a hook. Names and values stand for places."""
Taps = Mapping[ActivationLocationType, "Tap"]

NO_TAPS: Taps = MappingProxyType({})


class Tap:
    """The recordings and interventions at one place of one layer, in the passes of a plan."""

    def __init__(self, key: PlaceAndLayer, plan: "TapPlan") -> None:
        self.key = key
        self.plan = plan
        self.before: list[Intervention] = []
        self.backward: list[Intervention] = []
        self.recordings: list[Recording] = []
        self.after: list[Intervention] = []
        self.witnesses: list[Recording] = []

    @property
    def only_observes(self) -> bool:
        """Whether the pass can go on with the tensor it had: nothing is replaced, and no graph starts here."""
        return not (self.has_forward_interventions or self.needs_gradient)

    @property
    def has_forward_interventions(self) -> bool:
        """Whether an intervention can change the tensor."""
        return bool(self.before or self.after)

    @property
    def needs_gradient(self) -> bool:
        """Whether the tensor here must be on the autograd graph."""
        return bool(self.backward) or any(recording.gradients for recording in self.recordings)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor with which the pass continues, after interventions and recordings."""
        owned = True  # whether only the pass itself can change the tensor's memory
        for intervention in self.before:
            tensor, owned = self._intervene(intervention, tensor, owned)
        if not owned and (self.recordings or self.after):
            tensor = tensor.clone()
        if self.needs_gradient and not tensor.requires_grad:
            # The graph starts here: nothing below this place needs one.
            tensor = tensor.detach().requires_grad_()
        for recording in self.recordings:
            recording.store(self.key, tensor)
        for intervention in reversed(self.backward):
            tensor = self._attach(intervention, tensor)
        owned = not self.recordings
        for intervention in self.after:
            tensor, owned = self._intervene(intervention, tensor, owned)
        return tensor

    def of_routed(self, routed: RoutedTensor) -> Neurons:
        """As a call, for the chosen experts' neurons. Interventions see, and give, those of all experts."""
        if self.has_forward_interventions or self.backward:
            return self(routed.dense())
        if self.needs_gradient and not routed.values.requires_grad:
            routed = routed.with_values(routed.values.detach().requires_grad_())
        for recording in self.recordings:
            recording.store(self.key, routed)
        return routed

    def note_output(self, output: Tensor, along: Callable[[Tensor], Neurons]) -> None:
        """Keep what gives the gradients of all experts' neurons: they act on a layer's output alone.

        Args:
            output: the layer's output.
            along: the neurons' gradients, from the gradient with respect to the output.
        """
        for recording in self.recordings:
            if recording.gradients:
                recording.note_output(self.key, output, along)

    def _intervene(self, intervention: Intervention, tensor: Tensor, owned: bool) -> tuple[Tensor, bool]:
        # A tensor that is recorded, saved for a backward pass, or expanded must not be changed in place.
        may_overwrite = owned and not tensor.requires_grad and 0 not in tensor.stride()
        return intervention.apply(self.key, tensor, self.plan.span, may_overwrite)

    def _attach(self, intervention: Intervention, tensor: Tensor) -> Tensor:
        span = self.plan.span  # the gradient comes after the pass

        def replaced(gradient: Tensor) -> Tensor:
            return gradient if intervention.has_ended else intervention.apply(self.key, gradient, span, False)[0]

        for recording in self.witnesses:
            recording.note_hooked(tensor)
        return GradientReplaced.apply(tensor, replaced)


class TapPlan:
    """The taps of a forward pass: the recordings and interventions that take part in it, in their order."""

    def __init__(self, entries: Sequence[Recording | Intervention], n_layers: int) -> None:
        self._entries = tuple(entries)
        self._span: Span | None = None
        self.recordings = [entry for entry in entries if isinstance(entry, Recording)]
        with_graph = [recording for recording in self.recordings if recording.gradients]
        self.gradients = bool(with_graph)
        by_key: dict[PlaceAndLayer, Tap] = {}
        for entry in entries:
            for key in entry.asked if isinstance(entry, Recording) else entry.places:
                tap = by_key.setdefault(key, Tap(key, self))
                if isinstance(entry, Recording):
                    tap.recordings.append(entry)
                elif entry.pass_type == PassType.BACKWARD:
                    tap.backward.append(entry)
                    tap.witnesses = with_graph
                    self.gradients = True
                else:
                    (tap.after if entry.after_recording else tap.before).append(entry)
        self._taps: dict[int | None, dict[ActivationLocationType, Tap]] = {}
        for (place, layer), tap in by_key.items():
            self._taps.setdefault(layer, {})[place] = tap
        touched = [layer for layer in self._taps if layer is not None]
        self.last_layer = max(touched, default=-1)
        """The last layer that must run even without logits; -1 if no layer must."""
        above = self._taps.get(None, {}).keys() - {ActivationLocationType.RESID_POST_EMBEDDING}
        self.needs_final_norm = bool(above)
        self.needs_logits = ActivationLocationType.LOGITS in above
        if above:
            self.last_layer = n_layers - 1

    def is_of(self, entries: Sequence[Recording | Intervention]) -> bool:
        """Whether the plan is of these recordings and interventions."""
        return len(entries) == len(self._entries) and all(map(operator.is_, entries, self._entries))

    @property
    def span(self) -> Span:
        """The tokens of the pass that runs."""
        assert self._span is not None, "taps are applied within a pass"
        return self._span

    @contextmanager
    def reading(self, span: Span) -> Iterator[None]:
        """Within it, a pass over these tokens runs. A pass that an intervention runs within it has its own.

        A plan without taps is shared by all threads, and nobody asks it.
        """
        if not self._taps:
            yield
            return
        before, self._span = self._span, span
        try:
            yield
        finally:
            self._span = before

    def taps(self, layer: int | None) -> Taps:
        """The taps of a layer, or of the places without layers."""
        return self._taps.get(layer, NO_TAPS)


def resolve_places(places: Iterable[PlaceRequest] | PlaceRequest, n_layers: int) -> frozenset[PlaceAndLayer]:
    """Every (place, layer) that a request names.

    Args:
        places: one request or several. A pair counts as one request unless its second entry could be a request too.
        n_layers: how many layers the model has.

    Raises:
        UnknownNameError: a place is unknown.
        InvalidRequestError: the model does not have a layer, a layer is given for a place without layers, or another
            layer than that of a hook's name.
    """
    resolved: set[PlaceAndLayer] = set()
    for request in [places] if _is_one_request(places) else places:
        asked: object = request
        layers: LayersGiven = None
        if isinstance(request, tuple) and len(request) == 2:
            asked, layers = cast("tuple[object, LayersGiven]", request)
        hook = hook_place(asked)
        if hook is not None and hook.hook_layer is not None:
            checked_layer(hook.hook_layer, n_layers, "the model")
        place, layers = place_and_layer(asked, layers)
        if place.has_no_layers:
            if layers is not None:
                raise InvalidRequestError(f"{place.value} has no layers. Use layer None, not {layers!r}.")
            resolved.add((place, None))
        else:
            resolved.update((place, layer) for layer in _checked_layers(layers, place, n_layers))
    return frozenset(resolved)


def _is_one_request(places: object) -> bool:
    is_pair = isinstance(places, tuple) and len(places) == 2 and not isinstance(places[1], str | tuple)
    return isinstance(places, str) or not isinstance(places, Iterable) or is_pair


def _checked_layers(layers: LayersGiven, place: ActivationLocationType, n_layers: int) -> Iterable[int]:
    if layers is None:
        return range(n_layers)
    number = whole_number(layers)
    if number is None and isinstance(layers, Iterable):
        return [checked_layer(layer, n_layers, place.value) for layer in layers]
    return [checked_layer(layers, n_layers, place.value)]


@overload
def at_place(taps: Taps, place: ActivationLocationType, tensor: Tensor) -> Tensor: ...


@overload
def at_place(taps: Taps, place: ActivationLocationType, tensor: Neurons) -> Neurons: ...


def at_place(taps: Taps, place: ActivationLocationType, tensor: Neurons) -> Neurons:
    """A tensor of the pass, after the recordings and interventions at its place."""
    tap = taps.get(place)
    if tap is None:
        return tensor
    return tap.of_routed(tensor) if isinstance(tensor, RoutedTensor) else tap(tensor)
