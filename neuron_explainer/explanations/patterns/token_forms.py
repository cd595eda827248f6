"""What patterns can say of one token: itself, its word, its kind, how the word begins and ends."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from neuron_explainer.wording import character_escape

_MOST_CHARACTERS = 30
_MARKS = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class TokenForm(StrEnum):
    """One of the things that a pattern can say of a token."""

    TOKEN = "token"
    WORD = "word"  # without spaces around it, lower case
    KIND = "kind"  # a class, such as "capitalised word"
    ENDING = "ending"  # the last three letters of a word
    SHORT_ENDING = "short_ending"  # the last two
    BEGINNING = "beginning"  # the first three letters
    LENGTH = "length"  # of the word, in characters, up to 6


class TokenForms(NamedTuple):
    """A token in all its forms; None where it has none."""

    token: str
    word: str
    kind: str
    ending: str | None
    short_ending: str | None
    beginning: str | None
    length: int


BEFORE_TEXT = TokenForms("", "", "begin of text", None, None, None, 0)
"""What stands before the first token."""


@lru_cache(maxsize=65_536)
def forms_of(token: str) -> TokenForms:
    """A token in all its forms.

    >>> forms_of(" Running").word, forms_of(" Running").kind, forms_of(" Running").ending
    ('running', 'capitalised word', 'ing')
    """
    bare = token.strip()
    word = bare.casefold()
    letters = len(word) if word.isalpha() else 0
    return TokenForms(
        token,
        word or token,
        _kind(token, bare),
        word[-3:] if letters >= 4 else None,
        word[-2:] if letters >= 3 else None,
        word[:3] if letters >= 4 else None,
        min(len(bare), 6),
    )


def _kind(token: str, bare: str) -> str:
    if not bare:
        return "line break" if "\n" in token else "blank"
    if bare.isdigit():
        return "digit" if len(bare) == 1 else "number"
    if bare.isalpha():
        part = "word" if token[0].isspace() else "word without a space before it"
        if len(bare) > 1 and bare.isupper():
            return f"{part} in capitals"
        return f"capitalised {part}" if bare[0].isupper() else f"lower-case {part}"
    return "mixed token" if any(character.isalnum() for character in bare) else "punctuation"


def quoted_token(token: str) -> str:
    r"""A token as a text shows it: with its spaces, on one line, cut after 30 characters.

    >>> quoted_token(" cat"), quoted_token("\n")
    ("' cat'", "'\\n'")
    """
    cut = token if len(token) <= _MOST_CHARACTERS else f"{token[:_MOST_CHARACTERS]}…"
    return f"'{''.join(_MARKS.get(character) or _printable(character) for character in cut)}'"


def _printable(character: str) -> str:
    return character if character.isprintable() else character_escape(character)
