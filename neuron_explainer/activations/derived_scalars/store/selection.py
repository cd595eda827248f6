"""Choose tensors of a DerivedScalarStore by derived scalar type, layer and pass."""

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

from torch import Tensor

from neuron_explainer.activations.derived_scalars.index_fields import check_position
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
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
DstsGiven = DstOrName | Iterable[DstOrName] | None
"""One derived scalar type or several; None for all."""
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


def numbers_at(tensors: Tensors, index: DerivedScalarIndex) -> Tensor:
    """The numbers that an index names.

    Raises:
        NotDerivedError: the scalar, or its layer, was not derived.
        IndexOutOfRangeError: a position is out of range.
        InvalidRequestError: `index` is not a DerivedScalarIndex.
    """
    if not isinstance(index, DerivedScalarIndex):
        raise InvalidRequestError(
            f"store[…] takes a DerivedScalarIndex, not {shown(index)}. For tensors by layer use store.activations(dst)."
        )
    by_layer = tensors_by_layer(tensors, index.dst, index.pass_type)
    if index.layer_index not in by_layer:
        raise NotDerivedError.of_layer(index.dst.value, index.layer_index, by_layer)
    tensor = by_layer[index.layer_index]
    for entry, length, dimension in zip(index.tensor_indices, tensor.shape, index.dimensions, strict=True):
        if isinstance(entry, int):
            check_position(entry, length, dimension, index)
    return tensor[index.slices]


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
    tensors: Tensors, dsts: DstsGiven, layers: Layers | None, pass_type: PassType
) -> list[tuple[DerivedScalarType, int | None, Neurons]]:
    """The tensors of some derived scalars (None: all) in some layers (None: all), with their type and layer.

    Raises:
        NotDerivedError: one of `dsts`, or of `layers`, was not derived.
    """
    asked = _as_dsts(dsts)
    if asked is None:
        asked = [dst for dst, derived_pass in tensors if derived_pass is pass_type]
        if not asked and tensors:
            raise NotDerivedError.of_pass(pass_type.value)
        if not asked:
            raise _nothing_named("dsts", "derived scalar")
    wanted = as_layers(layers)
    chosen = [
        (dst, layer_index, tensor)
        for dst in asked
        for layer_index, tensor in tensors_by_layer(tensors, dst, pass_type).kept()
        if (wanted is None or layer_index in wanted) and tensor.numel()
    ]
    _check_layers(tensors, wanted, {layer_index for _, layer_index, _ in chosen})
    if not chosen:
        raise InvalidRequestError("The derived scalars asked for have no values.")
    return chosen


def selected_tensors(
    tensors: Tensors, dsts: DstsGiven, layers: Layers | None, pass_type: PassType | None
) -> dict[tuple[DerivedScalarType, PassType], dict[int | None, Neurons]]:
    """The tensors of some derived scalars (None: all), layers (None: all) and passes (None: both).

    Raises:
        NotDerivedError: one of `dsts`, or of `layers`, was not derived.
    """
    asked, wanted = _as_dsts(dsts), as_layers(layers)
    passes = list(PassType) if pass_type is None else [pass_type]
    for dst in asked or ():
        if not any((dst, each) in tensors for each in passes):
            tensors_by_layer(tensors, dst, passes[0])  # which refuses it
    chosen = {
        (dst, derived_pass): {layer: tensor for layer, tensor in by_layer.items() if wanted is None or layer in wanted}
        for (dst, derived_pass), by_layer in tensors.items()
        if derived_pass in passes and (asked is None or dst in asked)
    }
    if not chosen and tensors:
        raise NotDerivedError.of_pass(passes[0].value)
    _check_layers(tensors, wanted, {layer for by_layer in chosen.values() for layer in by_layer})
    return {key: by_layer for key, by_layer in chosen.items() if by_layer}


def _check_layers(tensors: Tensors, wanted: set[int | None] | None, found: set[int | None]) -> None:
    """Refuse layers that were asked for and not found."""
    if missing := (wanted or set()) - found:
        derived = {layer_index for by_layer in tensors.values() for layer_index in by_layer}
        raise NotDerivedError.of_layer("The store", min(missing, key=layer_order), sorted(derived, key=layer_order))


def _as_dsts(dsts: DstsGiven) -> list[DerivedScalarType] | None:
    """One derived scalar or several as members; None stays."""
    if dsts is None:
        return None
    several = [dsts] if isinstance(dsts, str) or not isinstance(dsts, Iterable) else list(dsts)
    if not several:
        raise _nothing_named("dsts", "derived scalar")
    return [derived_scalar_type_of(dst) for dst in several]


def _nothing_named(argument: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{argument} is empty. Name at least one {what}, or use None for all.")


def as_layers(layers: Layers | None) -> set[int | None] | None:
    """One layer or several as plain ints; None, for all, stays.

    Raises:
        InvalidRequestError: no layer is given, or one of them is neither a whole number nor None.
    """
    if layers is None:
        return None
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
    if not numbers:
        raise _nothing_named("layers", "layer")
    return numbers
