"""The tensors recorded in a forward pass, and the gradients with respect to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, NotRecordedError, UnknownNameError
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, dense, values_of
from neuron_explainer.vocabulary.checks import checked_type, whole_number
from neuron_explainer.vocabulary.hook_names import place_and_layer, place_named
from neuron_explainer.vocabulary.places import ActivationLocationType

PlaceAndLayer = tuple[ActivationLocationType, int | None]
RecordingKey = ActivationLocationType | str | tuple[ActivationLocationType | str, SupportsIndex | None]
"""A place without layers, a (place, layer) pair, or the name of a hook. Names and values stand for places."""

_LARGEST_STORAGE_PER_RECORDED_BYTE = 1.5


def name_of(place: ActivationLocationType, layer: int | None) -> str:
    """How messages name a place: "mlp.post_act of layer 3"."""
    return place.value if layer is None else f"{place.value} of layer {layer}"


def names_of(places: Iterable[PlaceAndLayer]) -> str:
    """How messages name several places: "logits, mlp.post_act of layers 0 to 11"."""
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
    """The recorded tensors of the latest forward pass; `Transformer.record` makes one.

    `recording[place, layer]` is a tensor of shape (batch, *place.shape); `recording[place]` is enough for a place
    without layers, and `recording["blocks.5.mlp.hook_post"]` for a hook of TransformerLens. Each forward pass within
    the context fills the recording anew, and it stays readable after the context has ended. At padding it holds finite
    numbers without meaning: leave them out of sums over tokens.

    Tensors are the pass's own, not copies, unless keeping one would keep a larger tensor alive (values that are a part
    of the fused queries, keys and values). Of a mixture of experts' neurons only those of the chosen experts are kept;
    `recording[…]` makes a tensor of all neurons when it is asked for. With `gradients` tensors are attached to the
    autograd graph.

    Example:
        with transformer.record(["mlp_post_act", ("resid_post_mlp", 3)], gradients=True) as recording:
            logits = transformer(tokens)
            recording.backward(logits[0, -1, 42])
        recording["mlp_post_act", 0]  # (batch, tokens, neurons)
        recording.gradient("resid_post_mlp", 3)  # (batch, tokens, d_model)
    """

    def __init__(self, asked: frozenset[PlaceAndLayer], gradients: bool) -> None:
        self.asked = asked
        self.gradients = gradients
        self.has_ended = False
        self._tensors: dict[PlaceAndLayer, Neurons] = {}
        self._gradients: dict[PlaceAndLayer, Neurons] = {}
        self._outputs: dict[PlaceAndLayer, tuple[Tensor, Callable[[Tensor], Neurons]]] = {}
        self._hooked: list[Tensor] = []

    def __getitem__(self, key: RecordingKey) -> Tensor:
        return dense(self.kept(key))

    def kept(self, key: RecordingKey) -> Neurons:
        """A recorded tensor as it is kept: that of a mixture of experts' neurons, for the chosen experts alone.

        Errors are those of `recording[key]`.
        """
        place_and_layer = self._checked(key)
        if place_and_layer not in self._tensors:
            raise NotRecordedError(
                f"{name_of(*place_and_layer)} was asked for, but no forward pass reached it. Run the model within the "
                "context. Note that logits_at=None computes no logits, and that places of online autoencoders exist "
                "only while one runs."
            )
        return self._tensors[place_and_layer]

    def __iter__(self) -> Iterator[PlaceAndLayer]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        return self is other  # a mapping's own comparison would ask whether tensors are equal, which is not yes or no

    def __hash__(self) -> int:
        return id(self)

    def __contains__(self, key: object) -> bool:
        place, layer = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
        try:
            return _plain_key(place, layer) in self._tensors
        except (UnknownNameError, InvalidRequestError):
            return False

    def layers(self, place: ActivationLocationType | str) -> list[int]:
        """The layers in which a place was recorded, ascending; empty for a place without layers.

        Raises:
            UnknownNameError: the place is unknown.
        """
        asked = place_named(place)
        return sorted(layer for recorded, layer in self._tensors if recorded == asked and layer is not None)

    def gradient(self, place: ActivationLocationType | str, layer: SupportsIndex | None = None) -> Tensor:
        """The gradient of `backward`'s scalar with respect to a recorded tensor, in the tensor's shape.

        Raises:
            UnknownNameError: the place is unknown.
            NotRecordedError: the tensor was not recorded, or `backward` has not been called.
        """
        return dense(self.kept_gradient(place, layer))

    def kept_gradient(self, place: ActivationLocationType | str, layer: SupportsIndex | None = None) -> Neurons:
        """A gradient as it is kept; see `kept`. Errors are those of `gradient`."""
        key = self._checked((place, layer))
        if key not in self._gradients:
            raise NotRecordedError(
                f"{name_of(*key)} has no gradient yet. Record with gradients=True, run the model, and call "
                "recording.backward(scalar)."
            )
        return self._gradients[key]

    def backward(self, scalar: Tensor, *, retain_graph: bool = False) -> None:
        """Differentiate a scalar with respect to every recorded tensor; `gradient` then gives the results.

        Weights get no gradients. A recorded tensor that the scalar does not depend on has a gradient of zeros.

        Args:
            scalar: one number, computed from recorded tensors or from the logits of the same pass.
            retain_graph: keep the graph, so that another scalar can be differentiated afterwards.

        Raises:
            InvalidRequestError: it is not a tensor of one number, or does not depend on anything recorded with
                gradients.
        """
        if not self.gradients:
            raise InvalidRequestError("This recording has no autograd graph. Record with gradients=True.")
        checked_type("scalar", scalar, torch.Tensor)
        if scalar.numel() != 1:
            raise InvalidRequestError(f"Only one number can be differentiated; this has shape {tuple(scalar.shape)}.")
        if not scalar.requires_grad:
            raise InvalidRequestError(
                "The scalar does not depend on anything that was recorded with gradients. Compute it from this "
                "recording's tensors, or from logits that were computed within its context."
            )
        keys = list(self._tensors)
        # Tensors with a backward intervention take part even if nothing above them was recorded, so that it fires.
        outputs = {key: output for key, (output, _) in self._outputs.items() if output.requires_grad}
        inputs = [values_of(self._tensors[key]) for key in keys] + list(outputs.values()) + self._hooked
        gradients = torch.autograd.grad(scalar, inputs, retain_graph=retain_graph, allow_unused=True)
        self._gradients = {}
        for key, gradient in zip(keys, gradients, strict=False):
            tensor = self._tensors[key]
            found = torch.zeros_like(values_of(tensor)) if gradient is None else gradient
            self._gradients[key] = tensor.with_values(found) if isinstance(tensor, RoutedTensor) else found
        for key, gradient in zip(outputs, gradients[len(keys) :], strict=False):
            routed, (_, along) = self._gradients[key], self._outputs[key]
            if gradient is not None and isinstance(routed, RoutedTensor):
                self._gradients[key] = replace(routed, complete=partial(_dense_gradient, along, gradient))

    def clear(self) -> None:
        """Release every tensor and the graph."""
        self._tensors = {}
        self._gradients = {}
        self._outputs = {}
        self._hooked = []

    def store(self, key: PlaceAndLayer, tensor: Neurons) -> None:
        """Keep a tensor of the pass that is running; called by the model."""
        if self.gradients:
            self._tensors[key] = tensor
            return
        if isinstance(tensor, RoutedTensor):
            self._tensors[key] = tensor.detach()
            return
        tensor = tensor.detach()
        stored_bytes = tensor.untyped_storage().nbytes()
        is_small_part = stored_bytes > _LARGEST_STORAGE_PER_RECORDED_BYTE * tensor.numel() * tensor.element_size()
        self._tensors[key] = tensor.clone() if is_small_part else tensor

    def note_output(self, key: PlaceAndLayer, output: Tensor, along: Callable[[Tensor], Neurons]) -> None:
        """Keep the output through which a layer's neurons act; called by the model. See `Tap.note_output`."""
        self._outputs[key] = (output, along)

    def note_hooked(self, tensor: Tensor) -> None:
        """Remember a tensor whose gradient an intervention changes; called by the model."""
        self._hooked.append(tensor)

    def _checked(self, key: RecordingKey) -> PlaceAndLayer:
        place, layer = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
        place_and_layer = _plain_key(place, layer)
        if place_and_layer not in self.asked:
            raise NotRecordedError(f"{name_of(*place_and_layer)} was not asked for. Recorded: {names_of(self.asked)}.")
        return place_and_layer

    def __repr__(self) -> str:
        places = sorted({place.value for place, _ in self._tensors})
        return f"Recording({len(self)} tensor{'' if len(self) == 1 else 's'}: {', '.join(places) or 'nothing yet'})"


def _plain_key(place: object, layer: object) -> tuple[ActivationLocationType, Any]:
    """The place's member, and the layer as a plain int. What is not a layer stays: no recording has it."""
    member, layer = place_and_layer(place, layer)
    number = whole_number(layer)
    if number is None and layer is not None:
        layer = repr(layer)
    return member, layer if number is None else number


def _dense_gradient(along: Callable[[Tensor], Neurons], gradient: Tensor) -> Tensor:
    with torch.no_grad():
        return dense(along(gradient))
