"""Checks of numbers that a caller gives: whole numbers, layers and token ids. The whole package uses these."""

import operator
from typing import SupportsIndex, cast

from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError


def whole_number(value: object) -> int | None:
    """`value` as a plain int, if it is a whole number of Python, NumPy or torch; None for all else, and for booleans.

    >>> whole_number(3), whole_number(3.0), whole_number(True)
    (3, None, None)
    """
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return None


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
        raise error(f"{subject} has no layer {layer!r}. Choose a whole number from 0 to {n_layers - 1}.")
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
