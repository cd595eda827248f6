"""What every index shares: checked fields, JSON in and out, and the check against a model's sizes."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeVar, cast

import msgspec

from neuron_explainer.errors import IndexOutOfRangeError, InvalidIndexError, nearest_first
from neuron_explainer.vocabulary.dimensions import Dimension

TensorIndex = int | Literal["All"] | None
"""One position on an axis; "All" and None both mean the whole axis."""

EnumT = TypeVar("EnumT", bound=StrEnum)
FormT = TypeVar("FormT", bound="JsonForm")
SizeOf = Callable[[Dimension], int | None] | Mapping[Dimension, int]


def checked_enum(owner: object, field: str, enum: type[EnumT]) -> EnumT:
    """The field as a member of `enum`, also set on the frozen `owner`; a value's string is taken as well."""
    value = getattr(owner, field)
    try:
        member = enum(value)
    except ValueError:
        nearest = ", ".join(nearest_first(str(value), list(enum))[:5])
        raise InvalidIndexError(
            f"{type(owner).__name__}: {field} is {value!r}, not a {enum.__name__}. Nearest: {nearest}."
        ) from None
    object.__setattr__(owner, field, member)
    return member


def checked_layer_index(owner: Any) -> int | None:
    """The `layer_index` field as a plain int that is not negative, or None; also set on the frozen `owner`."""
    value = owner.layer_index
    layer_index = None if value is None else checked_integer(owner, "layer_index", value)
    object.__setattr__(owner, "layer_index", layer_index)
    return layer_index


def checked_integer(owner: object, field: str, value: object) -> int:
    """`value` as a plain int, if it is one (NumPy's and torch's included) and not negative."""
    try:
        number = operator.index(cast("Any", value))
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InvalidIndexError(
            f'{type(owner).__name__}: {field} holds {value!r}; an index is an int, or "All" or None for a whole axis.'
        )
    if number < 0:
        raise InvalidIndexError(
            f"{type(owner).__name__}: {field} holds {number}; positions count from 0, and negative ones are refused."
        )
    return number


def checked_tensor_indices(owner: Any, dimensions: tuple[Dimension | None, ...]) -> tuple[TensorIndex, ...]:
    """The `tensor_indices` field as a tuple with one entry for each of `dimensions`; also set on the frozen `owner`."""
    value = owner.tensor_indices
    if not isinstance(value, tuple | list):
        raise InvalidIndexError(
            f"{type(owner).__name__}: tensor_indices is {value!r}; give a tuple with one entry for each of "
            f"{named_axes(dimensions)}."
        )
    checked = tuple(
        entry
        if entry is None or (isinstance(entry, str) and entry == "All")
        else checked_integer(owner, "tensor_indices", entry)
        for entry in value
    )
    if len(checked) != len(dimensions):
        raise InvalidIndexError(
            f"{type(owner).__name__}: tensor_indices {value!r} has {len(checked)} entries, but {_subject(owner)} has "
            f'{len(dimensions)} axes: {named_axes(dimensions)}. Write "All" for a whole axis.'
        )
    object.__setattr__(owner, "tensor_indices", checked)
    return cast("tuple[TensorIndex, ...]", checked)


def named_axes(dimensions: tuple[Dimension | None, ...]) -> str:
    """The axes' names in brackets, as an error message shows them."""
    return "(" + ", ".join(str(dimension or "component") for dimension in dimensions) + ")"


def _subject(owner: object) -> str:
    return str(getattr(owner, fields(cast("Any", owner))[0].name))


class JsonForm:
    """JSON in and out for a frozen dataclass whose fields are JSON values, enums, or other such classes."""

    # Such a class checks its fields itself, and takes values that it then converts: an annotation checker that runs
    # before it (tests use one) has to let them through.
    __no_type_check__: ClassVar[bool] = True

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, in the fields' order; enums by their values."""
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(self)))

    @classmethod
    def from_json(cls: type[FormT], data: Mapping[str, Any] | str | bytes) -> FormT:
        """The index that `data` (a JSON object, or its text) describes.

        Raises:
            InvalidIndexError: `data` is no JSON object, lacks a field, has one that is not known, or its values
                contradict each other.
        """
        if isinstance(data, str | bytes):
            try:
                data = msgspec.json.decode(data)
            except msgspec.DecodeError as error:
                raise InvalidIndexError(f"{cls.__name__}: this is not JSON: {error}.") from error
        if not isinstance(data, Mapping):
            raise InvalidIndexError(f"{cls.__name__}: a JSON object is needed, and this is {data!r:.200}.")
        kind = cls._class_for(data)
        known = [field.name for field in fields(cast("Any", kind))]
        for key in data:
            if key not in known:
                raise InvalidIndexError(f"{kind.__name__} has no field {key!r}; it has: {', '.join(known)}.")
        try:
            return cast("FormT", kind(**{key: kind._value_from_json(key, value) for key, value in data.items()}))
        except TypeError as error:  # a field is missing
            raise InvalidIndexError(f"{cls.__name__}: {error}; got {dict(data)!r:.200}.") from error

    @classmethod
    def _class_for(cls, data: Mapping[str, Any]) -> "type[JsonForm]":
        """The class of what a JSON object describes; classes with subclasses override this."""
        return cls

    @classmethod
    def _value_from_json(cls, field: str, value: Any) -> Any:
        """One field's value; classes that hold other such classes override this."""
        return value


def whole_axis(entry: TensorIndex) -> bool:
    """Whether an entry of `tensor_indices` stands for its whole axis."""
    return not isinstance(entry, int)


def as_slices(tensor_indices: tuple[TensorIndex, ...]) -> tuple[int | slice, ...]:
    """`tensor_indices` as what a tensor is indexed with: an int for a position, a full slice for a whole axis."""
    return tuple(entry if isinstance(entry, int) else slice(None) for entry in tensor_indices)


def check_within_sizes(
    subject: str,
    layer_index: int | None,
    tensor_indices: tuple[TensorIndex, ...],
    dimensions: tuple[Dimension | None, ...],
    n_layers: int,
    size_of: SizeOf,
) -> None:
    """Raises IndexOutOfRangeError if the layer or a position is beyond what the model and the prompt have."""
    if layer_index is not None and layer_index >= n_layers:
        raise IndexOutOfRangeError(
            f"{subject}: there is no layer {layer_index}; the model has layers 0 to {n_layers - 1}."
        )
    for entry, dimension in zip(tensor_indices, dimensions, strict=True):
        if not isinstance(entry, int) or dimension is None:
            continue
        size = size_of.get(dimension) if isinstance(size_of, Mapping) else size_of(dimension)
        if size is not None and entry >= size:
            raise IndexOutOfRangeError(
                f"{subject}: position {entry} on the axis {dimension.value} is out of range; it has {size} "
                f"(0 to {size - 1})."
            )
