"""What was recorded in a forward pass, and the gradients with respect to it."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, NotRecordedError
from neuron_explainer.vocabulary.places import ActivationLocationType

PlaceAndLayer = tuple[ActivationLocationType, int | None]

_LARGEST_STORAGE_PER_RECORDED_BYTE = 1.5


def name_of(place: ActivationLocationType, layer: int | None) -> str:
    """How messages call a place: "mlp.post_act of layer 3"."""
    return place.value if layer is None else f"{place.value} of layer {layer}"


def names_of(places: Iterable[PlaceAndLayer]) -> str:
    """How messages call several places: "logits, mlp.post_act of layers 0 to 11"."""
    layers_by_place: dict[ActivationLocationType, list[int]] = {}
    for place, layer in places:
        layers_by_place.setdefault(place, []).extend([] if layer is None else [layer])
    names = []
    for place in sorted(layers_by_place):
        layers = sorted(layers_by_place[place])
        if len(layers) < 2:
            names.append(name_of(place, layers[0] if layers else None))
        elif len(layers) == layers[-1] - layers[0] + 1:
            names.append(f"{place.value} of layers {layers[0]} to {layers[-1]}")
        else:
            names.append(f"{place.value} of layers {', '.join(map(str, layers))}")
    return ", ".join(names) or "nothing"


class Recording(Mapping[PlaceAndLayer, Tensor]):
    """The tensors of the latest forward pass at the places that were asked for.

    `recording[place, layer]` is a tensor of shape (batch, *place.shape); `recording[place]` serves where the place
    has no layers. A recording is filled by each forward pass within its context, the last one wins, and stays readable
    after the context has ended. At the positions of padding it holds what the model computes there: finite numbers that
    no real token depends on (the padding comes after them), to be left out by whoever sums over tokens.

    Tensors are the pass's own, not copies, except where keeping one would keep a larger tensor alive (values that are a
    part of the fused query, key and value). With `gradients` they are attached to the autograd graph.
    """

    def __init__(self, asked: frozenset[PlaceAndLayer], gradients: bool) -> None:
        self.asked = asked
        self.gradients = gradients
        self._tensors: dict[PlaceAndLayer, Tensor] = {}
        self._gradients: dict[PlaceAndLayer, Tensor] = {}
        self._hooked: list[Tensor] = []

    def __getitem__(self, key: ActivationLocationType | PlaceAndLayer) -> Tensor:
        place_and_layer = self._checked(key)
        if place_and_layer not in self._tensors:
            raise NotRecordedError(
                f"{name_of(*place_and_layer)} was asked for, but no forward pass has come by it: run the model within "
                "the context, and mind that logits_at=None computes no logits and that the places of online "
                "autoencoders exist only while one runs."
            )
        return self._tensors[place_and_layer]

    def __iter__(self) -> Iterator[PlaceAndLayer]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, key: object) -> bool:
        return (key if isinstance(key, tuple) else (key, None)) in self._tensors

    def layers(self, place: ActivationLocationType) -> list[int]:
        """The layers at which a place was recorded, ascending; empty for places without layers."""
        return sorted(layer for recorded, layer in self._tensors if recorded == place and layer is not None)

    def gradient(self, place: ActivationLocationType, layer: int | None = None) -> Tensor:
        """The gradient of `backward`'s scalar with respect to what was recorded there, in the same shape.

        Raises:
            NotRecordedError: it was not recorded, or `backward` has not been called.
        """
        key = self._checked((place, layer))
        if key not in self._gradients:
            raise NotRecordedError(
                f"There is no gradient at {name_of(*key)}: record with gradients=True, run the model and call "
                "recording.backward(scalar)."
            )
        return self._gradients[key]

    def backward(self, scalar: Tensor, *, retain_graph: bool = False) -> None:
        """Differentiate a scalar with respect to every recorded tensor; `gradient` then gives the results.

        Weights get no gradients. A recorded tensor that the scalar does not depend on has a gradient of zeros.

        Args:
            scalar: one number computed from recorded tensors or from the logits of the same pass.
            retain_graph: keep the graph, so that another scalar can be differentiated after this one.

        Raises:
            InvalidRequestError: it is no single number, or depends on nothing that was recorded with gradients.
        """
        if not self.gradients:
            raise InvalidRequestError("This recording holds no graph: record with gradients=True.")
        if scalar.numel() != 1:
            raise InvalidRequestError(f"Only one number can be differentiated; this has shape {tuple(scalar.shape)}.")
        if not scalar.requires_grad:
            raise InvalidRequestError(
                "The scalar depends on nothing that was recorded with gradients: compute it from this recording's "
                "tensors, or from logits that were computed within its context."
            )
        keys = list(self._tensors)
        # Tensors with a backward intervention take part even if nothing above them was recorded, so that it fires.
        inputs = [self._tensors[key] for key in keys] + self._hooked
        gradients = torch.autograd.grad(scalar, inputs, retain_graph=retain_graph, allow_unused=True)
        self._gradients = {
            key: torch.zeros_like(self._tensors[key]) if gradient is None else gradient
            for key, gradient in zip(keys, gradients, strict=False)
        }

    def clear(self) -> None:
        """Let go of every tensor and of the graph."""
        self._tensors = {}
        self._gradients = {}
        self._hooked = []

    def store(self, key: PlaceAndLayer, tensor: Tensor) -> None:
        """Keep a tensor of the pass that is running; called by the model."""
        if self.gradients:
            self._tensors[key] = tensor
            return
        tensor = tensor.detach()
        stored_bytes = tensor.untyped_storage().nbytes()
        is_small_part = stored_bytes > _LARGEST_STORAGE_PER_RECORDED_BYTE * tensor.numel() * tensor.element_size()
        self._tensors[key] = tensor.clone() if is_small_part else tensor

    def note_hooked(self, tensor: Tensor) -> None:
        """Remember a tensor whose gradient an intervention changes; called by the model."""
        self._hooked.append(tensor)

    def _checked(self, key: ActivationLocationType | PlaceAndLayer) -> PlaceAndLayer:
        place_and_layer = key if isinstance(key, tuple) else (key, None)
        if place_and_layer not in self.asked:
            asked = names_of(self.asked)
            raise NotRecordedError(f"{name_of(*place_and_layer)} was not asked for. Recorded: {asked}.")
        return place_and_layer

    def __repr__(self) -> str:
        places = sorted({place.value for place, _ in self._tensors})
        return f"Recording({len(self)} tensors: {', '.join(places) or 'nothing yet'})"
