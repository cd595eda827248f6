"""Recording and intervening: which tensors of a forward pass are kept or replaced, by place and layer.

At one place the order is: interventions in order of entry, then recording, then the interventions that asked to come
after it. Interventions on gradients act on the gradient of what is recorded, in order of entry too. What is
neither recorded nor intervened on costs nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.hooks.intervention import GradientReplaced, Intervention
from neuron_explainer.models.hooks.recording import PlaceAndLayer, Recording
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

PlaceRequest = ActivationLocationType | tuple[ActivationLocationType, int | Iterable[int] | None]
Taps = Mapping[ActivationLocationType, "Tap"]

NO_TAPS: Taps = MappingProxyType({})


class Tap:
    """All that happens at one place of one layer."""

    def __init__(self, key: PlaceAndLayer) -> None:
        self.key = key
        self.before: list[Intervention] = []
        self.backward: list[Intervention] = []
        self.recordings: list[Recording] = []
        self.after: list[Intervention] = []
        self.witnesses: list[Recording] = []

    @property
    def needs_gradient(self) -> bool:
        """Whether the tensor here must be on the autograd graph."""
        return bool(self.backward) or any(recording.gradients for recording in self.recordings)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor that the pass goes on with, after interventions and recordings."""
        owned = True  # whether nobody outside of the pass can change the tensor's memory
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

    def _intervene(self, intervention: Intervention, tensor: Tensor, owned: bool) -> tuple[Tensor, bool]:
        if not owned or tensor.requires_grad or 0 in tensor.stride():
            # What is recorded, saved for a backward pass, or repeated in memory must not be changed in place.
            tensor = tensor.clone()
        result = intervention.apply(self.key, tensor)
        return result, result.data_ptr() == tensor.data_ptr()

    def _attach(self, intervention: Intervention, tensor: Tensor) -> Tensor:
        def replaced(gradient: Tensor) -> Tensor:
            return gradient if intervention.has_ended else intervention.apply(self.key, gradient.clone())

        for recording in self.witnesses:
            recording.note_hooked(tensor)
        return GradientReplaced.apply(tensor, replaced)


class TapPlan:
    """What the recordings and interventions of a moment mean for a forward pass."""

    def __init__(self, entries: list[Recording | Intervention], n_layers: int) -> None:
        self.recordings = [entry for entry in entries if isinstance(entry, Recording)]
        with_graph = [recording for recording in self.recordings if recording.gradients]
        self.gradients = bool(with_graph)
        by_key: dict[PlaceAndLayer, Tap] = {}
        for entry in entries:
            for key in entry.asked if isinstance(entry, Recording) else entry.places:
                tap = by_key.setdefault(key, Tap(key))
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
        """The last layer that must run though no logits are asked for; -1 if none."""
        above = self._taps.get(None, {}).keys() - {ActivationLocationType.RESID_POST_EMBEDDING}
        self.needs_final_norm = bool(above)
        self.needs_logits = ActivationLocationType.LOGITS in above
        if above:
            self.last_layer = n_layers - 1

    def taps(self, layer: int | None) -> Taps:
        """The taps of a layer, or of the places without layers."""
        return self._taps.get(layer, NO_TAPS)


class Hooks:
    """The recordings and interventions of one model, in order of entry."""

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers
        self._entries: list[Recording | Intervention] = []
        self.plan = TapPlan([], n_layers)

    def begin_pass(self) -> TapPlan:
        """The plan for a forward pass that starts now; empties the recordings that it will fill."""
        for recording in self.plan.recordings:
            recording.clear()
        return self.plan

    @contextmanager
    def entered(self, entry: Recording | Intervention) -> Iterator[None]:
        """Have a recording or intervention take part in passes until the context ends."""
        self._entries.append(entry)
        self.plan = TapPlan(self._entries, self.n_layers)
        try:
            yield
        finally:
            self._entries = [other for other in self._entries if other is not entry]
            self.plan = TapPlan(self._entries, self.n_layers)
            if isinstance(entry, Intervention):
                entry.has_ended = True


def resolve_places(places: Iterable[PlaceRequest] | ActivationLocationType, n_layers: int) -> frozenset[PlaceAndLayer]:
    """Every (place, layer) that a request names; layers None or missing = all layers, or the only one.

    Raises:
        InvalidRequestError: a place is none, or a layer is out of range or given for a place without layers.
    """
    requests = [places] if isinstance(places, ActivationLocationType) else places
    resolved: set[PlaceAndLayer] = set()
    for request in requests:
        place, layers = request if isinstance(request, tuple) else (request, None)
        if not isinstance(place, ActivationLocationType):
            raise InvalidRequestError(f"{place!r} is no ActivationLocationType.")
        if place.has_no_layers:
            if layers is not None:
                raise InvalidRequestError(f"{place.value} has no layers; ask for it with layer None, not {layers!r}.")
            resolved.add((place, None))
            continue
        wanted = range(n_layers) if layers is None else [layers] if isinstance(layers, int) else layers
        for layer in wanted:
            if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < n_layers:
                raise InvalidRequestError(
                    f"There is no layer {layer!r} at which to find {place.value}; layers are 0 to {n_layers - 1}."
                )
            resolved.add((place, layer))
    return frozenset(resolved)


def at_place(taps: Taps, place: ActivationLocationType, tensor: Tensor) -> Tensor:
    """A tensor of the pass, after whatever is to happen at its place."""
    tap = taps.get(place)
    return tensor if tap is None else tap(tensor)
