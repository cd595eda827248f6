"""The shapes of patterns: which forms of which tokens, this one and those before it, a pattern fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from neuron_explainer.explanations.patterns.token_forms import BEFORE_TEXT, TokenForm, TokenForms, forms_of

Key = tuple[Any, ...]
"""A pattern: the number of its template, then the value of each of the template's parts."""


@dataclass(frozen=True)
class Template:
    """Which forms a pattern fixes; what it does not fix may be anything.

    Attributes:
        parts: for each token that it looks at, how many tokens back it is and the form of it.
        prior: how large weights of such patterns are expected to be: their prior variance, where that of the noise is
            1. They were chosen once, on neurons of the embedded model. 0: no pattern of it has a weight unless it is
            found.
        cost: what a pattern must explain before it is worth its words, in activations of the height of the top ones;
            None: such patterns are not told in words.
        n_words: in how many different tokens it must fire, to be told in words: one token is better named.
    """

    parts: tuple[tuple[int, TokenForm], ...]
    prior: float
    cost: float | None = None
    n_words: int = 1


TEMPLATES = (
    Template(((0, TokenForm.TOKEN),), 1.1, 0.32),
    Template(((0, TokenForm.WORD),), 0.5, 0.3),
    Template(((0, TokenForm.KIND),), 0.05, 0.3, 4),
    Template(((0, TokenForm.SHORT_ENDING),), 0.2, 0.6, 3),
    Template(((0, TokenForm.ENDING),), 0.5, 0.5, 3),
    Template(((0, TokenForm.BEGINNING),), 0.5, 0.8, 3),
    Template(((0, TokenForm.LENGTH),), 0.03),
    Template(((1, TokenForm.WORD),), 0.2, 0.4, 3),
    Template(((1, TokenForm.TOKEN),), 0.0, 0.42, 3),
    Template(((1, TokenForm.KIND),), 0.05, 0.8, 4),
    Template(((1, TokenForm.WORD), (0, TokenForm.WORD)), 0.25, 0.5),
    Template(((1, TokenForm.WORD), (0, TokenForm.KIND)), 0.15, 0.7, 3),
    Template(((1, TokenForm.KIND), (0, TokenForm.WORD)), 0.0, 0.7),
    Template(((1, TokenForm.KIND), (0, TokenForm.KIND)), 0.03, 0.8, 4),
    Template(((1, TokenForm.WORD), (0, TokenForm.ENDING)), 0.0, 1.0, 2),
    Template(((2, TokenForm.WORD),), 0.05, 0.7, 3),
    Template(((2, TokenForm.WORD), (0, TokenForm.WORD)), 0.0, 0.8),
    Template(((2, TokenForm.WORD), (0, TokenForm.KIND)), 0.0, 1.0, 3),
    Template(((2, TokenForm.WORD), (1, TokenForm.WORD)), 0.0, 0.9, 3),
    Template(((2, TokenForm.WORD), (1, TokenForm.WORD), (0, TokenForm.WORD)), 0.0, 0.9),
    Template(((3, TokenForm.WORD),), 0.03),
)
LATEST = 3
"""How many tokens back a pattern looks at most."""
_MOST_CHARACTERS = 200

PLACES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Positions before which, or from which on, a pattern can fire: its key is (-1, place, is_before)."""
PLACE_TEMPLATE = -1
PLACE_PRIOR, PLACE_COST, PLACE_WORDS = 0.015, 1.5, 4

_FORM_INDEX = {form: index for index, form in enumerate(TokenForm)}
_PARTS = [
    (number, [(back, _FORM_INDEX[form]) for back, form in template.parts]) for number, template in enumerate(TEMPLATES)
]


def keys_at(forms: Sequence[TokenForms], position: int) -> Iterator[Key]:
    """All patterns that a position of a text matches.

    Args:
        forms: the text's tokens in all their forms, (tokens,).
        position: of the token, from 0.
    """
    window = [forms[position - back] if back <= position else BEFORE_TEXT for back in range(LATEST + 1)]
    for number, parts in _PARTS:
        if len(parts) == 1:
            back, form = parts[0]
            value = window[back][form]
            if value is not None:
                yield number, value
        else:
            values = [window[back][form] for back, form in parts]
            if None not in values:
                yield number, *values
    for place in PLACES:
        yield PLACE_TEMPLATE, place, position < place


def all_forms(tokens: Sequence[str]) -> list[TokenForms]:
    """The tokens of a text in all their forms; of a token of more than 200 characters, the first 200 are looked at."""
    return [forms_of(token[:_MOST_CHARACTERS]) for token in tokens]
