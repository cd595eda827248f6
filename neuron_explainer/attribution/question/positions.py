"""Positions of tokens, as numbers or as a token's text."""

from collections.abc import Iterable, Sequence
from typing import SupportsIndex

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.names.token_texts import position_in_prompt
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, NeuronExplainerError, shown
from neuron_explainer.vocabulary.checks import is_several, whole_number

PositionsGiven = SupportsIndex | str | Iterable[SupportsIndex | str] | None


def read_positions(given: PositionsGiven, tokens: Sequence[str], name: str = "positions") -> tuple[int, ...]:
    """The positions, from 0, ascending and each once; the last one if none are given.

    Args:
        given: one position or several; negative ones count from the end, and "@7" or "@' Mary'" is read too.
        tokens: the prompt's tokens.
        name: the argument's name.

    Raises:
        IndexOutOfRangeError: the prompt does not have one of them.
        InvalidRequestError: one of them is not a position.
    """
    if given is None:
        return (len(tokens) - 1,)
    several = [given] if isinstance(given, str) or whole_number(given) is not None else given
    if not is_several(several):
        raise InvalidRequestError(f"{name} is {shown(given)}. Give a position, or a list of them.")
    positions = sorted({_read_one(each, tokens, name) for each in several})
    if not positions:
        raise InvalidRequestError(f"{name} is an empty list. Give at least one, or leave it out.")
    return tuple(positions)


def _read_one(given: object, tokens: Sequence[str], name: str) -> int:
    if isinstance(given, str):
        token = _token_named(given, name) if given.startswith("@") else given
        position = position_in_prompt(token, tokens, lambda each: f"@{each!r}")
        return len(tokens) - 1 if position is None else position
    number = whole_number(given)
    if number is None:
        raise InvalidRequestError(f"{name} holds {shown(given)}. Give whole numbers; -1 is the last token.")
    if not -len(tokens) <= number < len(tokens):
        raise IndexOutOfRangeError(
            f"The prompt has no token {number}. Choose a position from 0 to {len(tokens) - 1}; -1 is the last one."
        )
    return number % len(tokens)


def _token_named(given: str, name: str) -> int | str | None:
    try:
        return NodeName.parse(f"EMB{given}").token
    except NeuronExplainerError:
        raise InvalidRequestError(
            f"{name}: {shown(given)} is not a token. Write a position as @7, or a token as @' Mary'."
        ) from None
