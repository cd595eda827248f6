r"""Tokens in names: their positions, and their texts in quotation marks as Python writes them (`' Mary'`, `'\n'`)."""

import re
from collections.abc import Callable, Sequence

from neuron_explainer.errors import IndexOutOfRangeError, NodeNameError, nearest_first
from neuron_explainer.wording import N_NEAREST, shown

QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_BY_LETTER = {"n": "\n", "t": "\t", "r": "\r"}

TokenGiven = int | str | None
"""A position (from the end if it is negative), a token's text, or None for all tokens."""


def unescaped(text: str) -> str:
    r"""The text whose escapes are those that `repr` writes. A backslash before any other character is left out.

    >>> unescaped(r"\'s\n")
    "'s\n"
    """
    return _ESCAPE.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    escape = found[1]
    if len(escape) == 1:
        return _BY_LETTER.get(escape, escape)
    code = int(escape[1:], 16)
    return chr(code) if code <= 0x10FFFF else found[0]


def position_in_prompt(token: TokenGiven, tokens: Sequence[str], name_at: Callable[[int | str], str]) -> int | None:
    """The position, from 0, of a token of the prompt.

    Args:
        token: what a name says.
        tokens: the prompt's token strings.
        name_at: the whole name with another token in its place, for the error's choices.

    Raises:
        IndexOutOfRangeError: the prompt has no such position.
        NodeNameError: the prompt has no token with this text, or several.
    """
    if token is None:
        return None
    if isinstance(token, int):
        position = token if token >= 0 else token + len(tokens)
        if not 0 <= position < len(tokens):
            raise IndexOutOfRangeError(
                f"The prompt has no token {token}. Choose a position from 0 to {len(tokens) - 1}."
            )
        return position
    positions = [position for position, text in enumerate(tokens) if text == token]
    if len(positions) == 1:
        return positions[0]
    if positions:
        *others, last = map(str, positions)
        raise NodeNameError.saying(
            f"The prompt has the token {token!r} at the positions {', '.join(others)} and {last}. "
            f"Write one of them: {', '.join(map(name_at, positions[:N_NEAREST]))}.",
            token,
            [name_at(position) for position in positions],
        )
    nearest = nearest_first(token, dict.fromkeys(tokens))
    listed = ", ".join(f"{shown(text)} ({tokens.index(text)})" for text in nearest[:N_NEAREST])
    raise NodeNameError.saying(
        f"The prompt has no token {shown(token)}. The nearest are, with their positions: {listed}.",
        token,
        [name_at(text) for text in nearest],
    )
