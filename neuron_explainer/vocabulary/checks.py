"""Checks of what a caller gives: types, numbers, layers and token ids. The whole package uses these."""

import math
import operator
from collections.abc import Collection, Iterable
from typing import Any, SupportsIndex, TypeGuard, TypeVar, cast

from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, no_layer, number_ranges, shown
from neuron_explainer.wording import as_valid_text

GivenT = TypeVar("GivenT")

MOST_SEED = 2**64 - 1
"""The largest seed that torch takes."""
LayersGiven = SupportsIndex | Iterable[SupportsIndex] | None
"""A layer, several layers, or None for all; whole numbers may be Python's, NumPy's or torch's."""


def whole_number(value: object) -> int | None:
    """`value` as a plain int, if it is a whole number of Python, NumPy or torch; None for all else, and for booleans.

    >>> whole_number(3), whole_number(3.0), whole_number(True)
    (3, None, None)
    """
    if _is_boolean(value):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return None


def finite_number(value: object) -> float | None:
    """`value` as a float, if it is one finite number of Python, NumPy or torch; None for all else, and for booleans.

    >>> finite_number(3), finite_number("3"), finite_number(float("nan"))
    (3.0, None, None)
    """
    if _is_boolean(value) or isinstance(value, str | bytes | bytearray) or getattr(value, "ndim", None):
        return None
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def is_several(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value can be gone through: an array or tensor of one number without an axis only looks as if it could.

    >>> import numpy as np
    >>> is_several([3]), is_several(np.array([3])), is_several(np.array(3)), is_several(3)
    (True, True, False, False)
    """
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0


def flag_of(value: object) -> bool | None:
    """`value` as a plain bool, if it is one True or False of Python, NumPy or torch; None for all else.

    >>> flag_of(False), flag_of(0)
    (False, None)
    """
    return bool(value) if _is_boolean(value) and not getattr(value, "ndim", None) else None


def checked_type(
    name: str, value: object, kind: type[GivenT], error: type[NeuronExplainerError] = InvalidRequestError
) -> GivenT:
    """`value`, if it is of the type.

    Args:
        name: the argument's name.
        value: what was given.
        kind: the type.
        error: the class of the error.

    Raises:
        InvalidRequestError (or `error`): it is of another type.
    """
    if isinstance(value, type) and issubclass(value, kind):
        raise error(f"{name} is the class {value.__name__}. Give an instance: {value.__name__}(…).")
    if not isinstance(value, kind):
        several = isinstance(value, list | tuple) and bool(value) and all(isinstance(each, kind) for each in value)
        advice = " Give one at a time." if several else ""
        raise error(f"{name} must be of type {kind.__name__}, not {type(value).__name__}.{advice}")
    return value


def checked_flag(name: str, value: object) -> bool:
    """`value` as a plain bool, if it is True or False of Python, NumPy or torch.

    Args:
        name: the argument's name.
        value: what was given.

    Raises:
        InvalidRequestError: it is something else, such as "no", which Python would take for True.

    >>> checked_flag("progress", False)
    False
    """
    flag = flag_of(value)
    if flag is None:
        raise InvalidRequestError(f"{name} is {shown(value)}. Give True or False.")
    return flag


def checked_text(name: str, text: object) -> str:
    """`text`, if it is one that can be encoded: not so a name that is not UTF-8.

    Raises:
        InvalidRequestError: it is something else.
    """
    given = checked_type(name, text, str)
    if as_valid_text(given) != given:
        raise InvalidRequestError(f"{name} is {shown(given)}, which is not valid text.")
    return given


def checked_number(
    name: str,
    value: object,
    at_least: int = 1,
    error: type[NeuronExplainerError] = InvalidRequestError,
    *,
    at_most: int | None = None,
) -> int:
    """`value` as a plain int, if it is within its range.

    Args:
        name: the argument's name.
        value: what was given.
        at_least: the smallest value.
        error: the class of the error.
        at_most: the largest value; None: there is none.

    Raises:
        InvalidRequestError (or `error`): it is not a whole number, or is smaller or larger.

    >>> checked_number("top_k", 5)
    5
    """
    number = whole_number(value)
    if number is None or number < at_least:
        raise error(f"{name} is {shown(value)}. Give a whole number, {at_least} or more.")
    if at_most is not None and number > at_most:
        raise error(f"{name} is {shown(value)}. Give a whole number, {at_most:,} or less.")
    return number


def checked_layers(
    name: str, layers: object, error: type[NeuronExplainerError] = InvalidRequestError
) -> tuple[int, ...]:
    """One layer or several as plain ints, in the order given. Whether a model has them is not checked.

    Args:
        name: the argument's name.
        layers: a whole number, or several in any iterable.
        error: the class of the error.

    Raises:
        InvalidRequestError (or `error`): no layer is given, one is given twice, or is not a whole number from 0 on.

    >>> checked_layers("layers", range(2)), checked_layers("layers", 5)
    ((0, 1), (5,))
    """
    single = whole_number(layers)
    if single is None and (isinstance(layers, str) or not is_several(layers)):
        raise error(f"{name} is {shown(layers)}. Give whole numbers, or None for all layers.")
    numbers = [whole_number(layer) for layer in cast("Any", layers)] if single is None else [single]
    if not numbers:
        raise error(f"{name} is empty. Name at least one layer, or use None for all.")
    plain = tuple(number for number in numbers if number is not None and number >= 0)
    if len(plain) < len(numbers) or len(set(plain)) < len(plain):
        raise error(f"{name} is {shown(layers)}. Give each layer once, as a whole number from 0 on.")
    return plain


def check_covered(
    kind: str,
    number: int,
    covered: Collection[int],
    subject: str,
    error: type[NeuronExplainerError] = InvalidRequestError,
) -> None:
    """Check that a dataset has a layer or a component.

    Args:
        kind: what the number counts: "layer", "neuron".
        number: the number.
        covered: the numbers that the dataset has.
        subject: the subject of the error's sentence, such as the dataset's name.
        error: the class of the error.

    Raises:
        InvalidRequestError (or `error`): the dataset does not have it.
    """
    if number not in covered:
        raise error(f"{subject} has no {kind} {number}; {kind}s: {number_ranges(covered)}.")


def checked_layer(
    layer: object, n_layers: int, subject: str, error: type[NeuronExplainerError] = InvalidRequestError
) -> int:
    """`layer` as a plain int, if it is in range.

    Args:
        layer: the layer.
        n_layers: how many layers the model has.
        subject: the subject of the error's sentence, such as "the model" or a model's name.
        error: the class of the error.

    Raises:
        InvalidRequestError (or `error`): it is not a whole number from 0 to `n_layers` - 1.
    """
    number = whole_number(layer)
    if number is None or not 0 <= number < n_layers:
        raise error(no_layer(subject, layer, range(n_layers)))
    return number


def checked_token_id(
    token_id: object, n_tokens: int, subject: str, error: type[NeuronExplainerError] = InvalidRequestError
) -> int:
    """`token_id` as a plain int, if it is in range.

    Args:
        token_id: the token id.
        n_tokens: how many tokens the vocabulary has.
        subject: the subject of the error's sentence, such as a model's name or "the tokenizer".
        error: the class of the error.

    Raises:
        InvalidRequestError (or `error`): it is not a whole number from 0 to `n_tokens` - 1.
    """
    number = whole_number(token_id)
    if number is None or not 0 <= number < n_tokens:
        raise error(f"{subject} has no token {token_id!r}. Token ids go from 0 to {n_tokens - 1}.")
    return number
