"""What a language model answered about a text's tokens, to one value for each token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from neuron_explainer.explanations.language_models.quoting import MOST_CHARACTERS_OF_TOKEN
from neuron_explainer.vocabulary.checks import finite_number, whole_number

_VALUE_NAMES = ("value", "level", "activation")


@dataclass(frozen=True)
class Entry:
    """One entry of an answer.

    Attributes:
        position: which token it is of, as it says; None if it does not.
        token: the token, as it says; None if it does not.
        value: NaN if it has none from 0 to the highest.
    """

    position: int | None
    token: str | None
    value: float


def entry_of(given: Any, highest: float) -> Entry | None:
    """An entry in any of the forms that models write: [position, token, value], [token, value], [position, value],
    or an object of these names.

    None: it is neither; nor is the value a number from 0 to the highest.

    >>> entry_of([3, " cat", 7], 10), entry_of(["cat", 11], 10)
    (Entry(position=3, token=' cat', value=7.0), None)
    """
    if isinstance(given, dict):
        value = next((given[name] for name in _VALUE_NAMES if name in given), None)
        given = [*(given[name] for name in ("position", "token") if name in given), value]
    if not isinstance(given, list | tuple) or not 2 <= len(given) <= 3:
        return None
    *named, last = given
    value = finite_number(last)
    if value is None or not 0 <= value <= highest:
        return None
    if len(named) == 2:
        position, token = whole_number(named[0]), named[1]
        return Entry(position, token, value) if position is not None and isinstance(token, str) else None
    if isinstance(named[0], str):
        return Entry(None, named[0], value)
    position = whole_number(named[0])
    return None if position is None else Entry(position, None, value)


def aligned(tokens: Sequence[str], entries: Sequence[Entry], first: int = 0) -> list[float]:
    """One value for each token; NaN for those that no entry is of.

    Where every position that the entries name has the token that they name there, positions decide; of two entries for
    one position, the first. Elsewhere the tokens that they name are aligned with those of the text, in their order;
    so a token that was left out, added or split shifts no other.

    Args:
        tokens: the text, token by token.
        entries: the entries, in the order of the answer.
        first: the position of the first token.

    >>> aligned(["a", "b", "c"], [Entry(0, "a", 1.0), Entry(1, "c", 5.0)])
    [1.0, nan, 5.0]
    """
    values = [math.nan] * len(tokens)
    keys = [_key(token) for token in tokens]
    if _positions_hold(keys, entries, first):
        for entry in reversed(entries):
            if entry.position is not None:
                values[entry.position - first] = entry.value
        return values
    named = [(_key(entry.token), entry.value) for entry in entries if entry.token is not None]
    matcher = SequenceMatcher(None, keys, [key for key, _ in named], autojunk=False)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            values[block.a + offset] = named[block.b + offset][1]
    return values


def _positions_hold(keys: Sequence[str], entries: Sequence[Entry], first: int) -> bool:
    return all(
        entry.position is not None
        and first <= entry.position < first + len(keys)
        and (entry.token is None or _key(entry.token) == keys[entry.position - first])
        for entry in entries
    )


def _key(token: str) -> str:
    """What tokens are compared by: models leave out spaces, and do not write long tokens again as a whole."""
    cut = token[:MOST_CHARACTERS_OF_TOKEN].rstrip("…")
    return cut.strip() or cut
