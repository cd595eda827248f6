"""What all indices share: checked fields, JSON in and out, and the check against a model's sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any, ClassVar, Literal, SupportsIndex, TypeVar, cast

import msgspec

from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidIndexError,
    InvalidRequestError,
    MisconfiguredError,
    UnknownNameError,
    no_layer,
    shown,
)
from neuron_explainer.vocabulary.checks import flag_of, whole_number
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.hook_names import hook_place, place_and_layer
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.places import ActivationLocationType

TensorIndex = int | Literal["All"] | None
"""One position on an axis; "All" and None both mean the whole axis."""

GivenTensorIndices = Sequence[SupportsIndex | Literal["All"] | None]
"""Positions as a constructor takes them: NumPy and torch integers too."""

EnumT = TypeVar("EnumT", bound=StrEnum)
FormT = TypeVar("FormT", bound="JsonForm")
SizeOf = Callable[[Dimension], int | None] | Mapping[Dimension, int]


_POSITION = 'a whole number, or "All" or None for a whole axis'


def checked_enum(owner: object, field: str, enum: type[EnumT]) -> EnumT:
    """The field as a member of `enum`, from a member, its name or its value; also set on the frozen `owner`."""
    value = getattr(owner, field)
    try:
        member = member_of(enum, value, field.replace("_", " "))
    except UnknownNameError as error:
        raise InvalidIndexError(f"{type(owner).__name__}: {error}") from None
    object.__setattr__(owner, field, member)
    return member


def checked_place(owner: Any) -> ActivationLocationType:
    """The `activation_location_type` field as a member. The name of a hook sets the `layer_index` of `owner`, too."""
    try:
        if hook_place(owner.activation_location_type) is not None:
            place, layer = place_and_layer(owner.activation_location_type, owner.layer_index)
            object.__setattr__(owner, "activation_location_type", place)
            object.__setattr__(owner, "layer_index", layer)
    except (UnknownNameError, InvalidRequestError) as error:
        raise InvalidIndexError(f"{type(owner).__name__}: {error}") from None
    return checked_enum(owner, "activation_location_type", ActivationLocationType)


def checked_bool(owner: object, field: str, error: type[MisconfiguredError] = InvalidIndexError) -> None:
    """Refuse a field that is neither True nor False; a plain bool is set on the frozen `owner`."""
    value = getattr(owner, field)
    flag = flag_of(value)
    if flag is None:
        raise error(f"{type(owner).__name__}: {field} must be True or False, not {shown(value)}.")
    object.__setattr__(owner, field, flag)


def checked_layer_index(owner: Any) -> int | None:
    """The `layer_index` field as a plain int that is not negative, or None; also set on the frozen `owner`."""
    value = owner.layer_index
    layer_index = None if value is None else checked_integer(owner, "layer_index", value, "a whole number")
    object.__setattr__(owner, "layer_index", layer_index)
    return layer_index


def checked_integer(owner: object, field: str, value: object, accepted: str) -> int:
    """`value` as a plain int, if it is a whole number (NumPy's and torch's included) that is not negative."""
    number = whole_number(value)
    if number is None:
        raise InvalidIndexError(f"{type(owner).__name__}: {field} has the entry {shown(value)}. Give {accepted}.")
    if number < 0:
        raise InvalidIndexError(f"{type(owner).__name__}: {field} has the entry {number}. Count from 0.")
    return number


def checked_tensor_indices(owner: Any, dimensions: tuple[Dimension | None, ...]) -> tuple[TensorIndex, ...]:
    """The `tensor_indices` field as a tuple with one entry for each of `dimensions`; also set on the frozen `owner`."""
    value = owner.tensor_indices
    if getattr(value, "ndim", None) == 1:  # an array of NumPy or torch
        value = tuple(value.tolist())
    if not isinstance(value, tuple | list):
        raise InvalidIndexError(
            f"{type(owner).__name__}: tensor_indices is {shown(value)}. Give a tuple with one entry for each of "
            f"{named_axes(dimensions)}."
        )
    checked = tuple(_checked_entry(owner, entry) for entry in value)
    if len(checked) != len(dimensions):
        raise InvalidIndexError(
            f"{type(owner).__name__}: tensor_indices {value!r} must have one entry for each axis of "
            f'{_subject(owner)}: {named_axes(dimensions)}. Write "All" for a whole axis.'
        )
    object.__setattr__(owner, "tensor_indices", checked)
    return checked


def _checked_entry(owner: object, entry: object) -> TensorIndex:
    if isinstance(entry, str) and entry == "All":
        return "All"
    return None if entry is None else checked_integer(owner, "tensor_indices", entry, _POSITION)


def named_axes(dimensions: tuple[Dimension | None, ...]) -> str:
    """The axes' names in brackets, as an error message shows them."""
    return "(" + ", ".join(str(dimension or "component") for dimension in dimensions) + ")"


def _subject(owner: object) -> str:
    return str(getattr(owner, fields(cast("Any", owner))[0].name))


class JsonForm:
    """JSON in and out for a frozen dataclass whose fields are JSON values, enums, or other such classes."""

    # Such a class checks and converts its fields itself, so a checker of annotations (tests use one) must let all
    # values through.
    __no_type_check__: ClassVar[bool] = True

    def __repr__(self) -> str:
        """A call that makes an equal object; fields that have their defaults are left out."""
        arguments = []
        is_positional = True
        for field in fields(cast("Any", self)):
            value = getattr(self, field.name)
            if field.default is not MISSING and value == field.default:
                is_positional = False
                continue
            is_positional = is_positional and not field.kw_only
            text = repr(value.value if isinstance(value, StrEnum) else value)
            arguments.append(text if is_positional else f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(arguments)})"

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, in the fields' order; enums by their values."""
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(self)))

    @classmethod
    def from_json(cls: type[FormT], data: Mapping[str, Any] | str | bytes) -> FormT:
        """Make an index from `data`, a JSON object or its text.

        Raises:
            InvalidIndexError: `data` is not a JSON object, lacks a field, has an unknown one, or its values contradict
                each other.
        """
        if isinstance(data, str | bytes):
            try:
                data = msgspec.json.decode(data)
            except msgspec.DecodeError as error:
                raise InvalidIndexError(f"{cls.__name__}: the text is not JSON: {error}.") from error
        if not isinstance(data, Mapping):
            raise InvalidIndexError(f"{cls.__name__}: give a JSON object, not {shown(data, 200)}.")
        kind = cls._class_for(data)
        known = [field.name for field in fields(cast("Any", kind))]
        for key in data:
            if key not in known:
                raise InvalidIndexError(f"{kind.__name__} has no field {key!r}. Its fields are: {', '.join(known)}.")
        try:
            return cast("FormT", kind(**{key: kind._value_from_json(key, value) for key, value in data.items()}))
        except TypeError as error:  # a field is missing
            raise InvalidIndexError(f"{cls.__name__}: {error}; got {shown(dict(data), 200)}.") from error

    @classmethod
    def _class_for(cls, data: Mapping[str, Any]) -> "type[JsonForm]":
        """The class to make from a JSON object; classes with subclasses override this."""
        return cls

    @classmethod
    def _value_from_json(cls, field: str, value: Any) -> Any:
        """One field's value; classes with fields of other such classes override this."""
        return value


def whole_axis(entry: TensorIndex) -> bool:
    """Whether an entry of `tensor_indices` stands for its whole axis."""
    return not isinstance(entry, int)


def as_slices(tensor_indices: tuple[TensorIndex, ...]) -> tuple[int | slice, ...]:
    """`tensor_indices` in the form that indexes a tensor: an int for a position, a full slice for a whole axis."""
    return tuple(entry if isinstance(entry, int) else slice(None) for entry in tensor_indices)


def check_within_sizes(
    subject: str,
    layer_index: int | None,
    tensor_indices: tuple[TensorIndex, ...],
    dimensions: tuple[Dimension | None, ...],
    n_layers: int,
    size_of: SizeOf,
) -> None:
    """Raise IndexOutOfRangeError if the layer or a position is out of range."""
    if layer_index is not None and layer_index >= n_layers:
        raise IndexOutOfRangeError(
            f"{no_layer('The model', layer_index, range(n_layers))} It is the layer of {subject}."
        )
    for entry, dimension in zip(tensor_indices, dimensions, strict=True):
        if not isinstance(entry, int) or dimension is None:
            continue
        size = size_of.get(dimension) if isinstance(size_of, Mapping) else size_of(dimension)
        if size is not None:
            check_position(entry, size, dimension, subject)


def check_position(entry: int, length: int, dimension: Dimension | None, subject: object) -> None:
    """Raise IndexOutOfRangeError if an axis of this length does not have the position."""
    if entry >= length:
        axis = dimension or "of components"
        raise IndexOutOfRangeError(
            f"Position {entry} on the axis {axis} is out of range. Choose 0 to {length - 1} in {subject}."
        )
