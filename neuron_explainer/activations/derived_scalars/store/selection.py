"""Choose tensors of a DerivedScalarStore by derived scalar type, layer and pass."""

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

from torch import Tensor

from neuron_explainer.activations.derived_scalars.store.shapes import Tensors, layer_order
from neuron_explainer.errors import InvalidRequestError, NotDerivedError, shown
from neuron_explainer.models.layers.dense_by_layer import DenseByLayer
from neuron_explainer.models.layers.routed import Neurons
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

DstOrName = DerivedScalarType | str
"""A derived scalar type, its name or its value."""
Layers = SupportsIndex | Iterable[SupportsIndex | None]
"""One layer or several; None stands for scalars without layers."""


def tensors_by_layer(tensors: Tensors, dst: DstOrName, pass_type: PassType | str) -> DenseByLayer:
    """The tensors of one derived scalar and pass.

    Raises:
        NotDerivedError: it was not derived.
        UnknownNameError: the type or the pass does not exist.
    """
    asked, asked_pass = derived_scalar_type_of(dst), member_of(PassType, pass_type, "pass type")
    if (asked, asked_pass) not in tensors:
        derived = [other.value for other, other_pass in tensors if other_pass is asked_pass]
        raise NotDerivedError.of_scalar(asked.value, derived, is_gradient=asked_pass is PassType.BACKWARD)
    return _ByLayer(asked, tensors[asked, asked_pass])


class _ByLayer(DenseByLayer):
    """One scalar's tensors by layer. A layer that was not derived is answered with those that were."""

    def __init__(self, dst: DerivedScalarType, by_layer: Mapping[int | None, Neurons]) -> None:
        super().__init__(by_layer)
        self._dst = dst

    def __missing__(self, layer: object) -> Tensor:
        raise NotDerivedError.of_layer(self._dst.value, layer, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._dst, dict(self.kept()))


def selected(
    tensors: Tensors, dsts: DstOrName | Iterable[DstOrName] | None, layers: Layers | None, pass_type: PassType
) -> list[tuple[DerivedScalarType, int | None, Neurons]]:
    """The tensors of some derived scalars (None: all) in some layers (None: all), with their type and layer.

    Raises:
        NotDerivedError: one of `dsts`, or of `layers`, was not derived.
    """
    if dsts is None:
        dsts = [dst for dst, derived_pass in tensors if derived_pass is pass_type]
        if not dsts and tensors:
            raise NotDerivedError.of_pass(pass_type.value)
    elif isinstance(dsts, str) or not isinstance(dsts, Iterable):
        dsts = [dsts]
    dsts = list(dsts)
    if not dsts:
        raise InvalidRequestError("dsts is empty. Name at least one derived scalar, or use None for all.")
    wanted = None if layers is None else as_layers(layers)
    if wanted is not None and not wanted:
        raise InvalidRequestError("layers is empty. Name at least one layer, or use None for all.")
    chosen = [
        (derived_scalar_type_of(dst), layer_index, tensor)
        for dst in dsts
        for layer_index, tensor in tensors_by_layer(tensors, dst, pass_type).kept()
        if (wanted is None or layer_index in wanted) and tensor.numel()
    ]
    missing = (wanted or set()) - {layer_index for _, layer_index, _ in chosen}
    if missing:
        derived = {layer_index for by_layer in tensors.values() for layer_index in by_layer}
        raise NotDerivedError.of_layer("The store", min(missing, key=layer_order), sorted(derived, key=layer_order))
    if not chosen:
        raise InvalidRequestError("The derived scalars asked for have no values.")
    return chosen


def as_layers(layers: Layers) -> set[int | None]:
    """One layer or several as plain ints.

    Raises:
        InvalidRequestError: one of them is neither a whole number nor None.
    """
    one = whole_number(layers)
    if one is not None:
        return {one}
    if not isinstance(layers, Iterable):
        raise InvalidRequestError(f"layers must be a layer or several, not {shown(layers)}.")
    numbers: set[int | None] = set()
    for layer in layers:
        number = None if layer is None else whole_number(layer)
        if number is None and layer is not None:
            raise InvalidRequestError(f"layers holds {shown(layer)}. Give whole numbers; None stands for no layer.")
        numbers.add(number)
    return numbers
