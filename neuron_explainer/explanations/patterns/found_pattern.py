"""A pattern that was found: which tokens it fires on, and how it is told in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.patterns.templates import PLACE_TEMPLATE, TEMPLATES, Key
from neuron_explainer.explanations.patterns.token_forms import TokenForm, quoted_token
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens

ANY = "[any]"
_MOST_SPELLINGS = 3


@dataclass(frozen=True, eq=False)
class FoundPattern:
    """A pattern with what is known of it in the training tokens.

    Attributes:
        keys: the pattern, by its number among all; if it has alternatives, one for each.
        parts: what it says of the tokens, the earliest first and this token last; "[any]" where it says nothing.
        matches: the numbers of the training tokens that it matches; ascending.
        activation: the mean activation there.
        support: how many of them have a high activation.
    """

    keys: Mapping[int, Key]
    parts: tuple[str, ...]
    matches: NDArray[np.int64]
    activation: float
    support: int

    @property
    def precision(self) -> float:
        """The share of its matches that have a high activation."""
        return self.support / len(self.matches)

    @property
    def text(self) -> str:
        """The pattern as a text, such as `' the' [any] ' cat'|' cats'`."""
        return " ".join(self.parts)


def found_pattern(keys: Mapping[int, Key], matches: NDArray[np.int64], training: TrainingTokens) -> FoundPattern:
    """The pattern, or the alternatives that differ in one token, with what is known of them.

    Args:
        keys: keys of one template, by their numbers.
        matches: the numbers of the tokens that they match.
        training: the tokens.
    """
    return FoundPattern(
        keys,
        _parts(list(keys.values()), matches, training),
        matches,
        float(training.activation[matches].mean()),
        int(training.is_high[matches].sum()),
    )


def _parts(keys: list[Key], matches: NDArray[np.int64], training: TrainingTokens) -> tuple[str, ...]:
    number = keys[0][0]
    if number == PLACE_TEMPLATE:
        _, place, is_before = keys[0]
        if place == 1 and is_before:
            return ("[first token]",)
        return (f"[one of the first {place} tokens]" if is_before else f"[after token {place}]",)
    template = TEMPLATES[number]
    said = {
        back: _said(form, {str(key[1 + index]) for key in keys}, back, matches, training)
        for index, (back, form) in enumerate(template.parts)
    }
    return tuple(said.get(back, ANY) for back in range(max(said), -1, -1))


def _said(form: TokenForm, values: set[str], back: int, matches: NDArray[np.int64], training: TrainingTokens) -> str:
    if form is TokenForm.WORD:
        return "|".join(_spellings(_tokens_at(back, matches, training))) or "[begin of text]"
    ordered = sorted(values)
    if form is TokenForm.TOKEN:
        return "|".join(map(quoted_token, ordered))
    if form is TokenForm.KIND:
        return "|".join(f"[{value}]" for value in ordered)
    sample = "|".join(_spellings(_tokens_at(back, matches, training), 1)[:_MOST_SPELLINGS])
    how = "beginning with" if form is TokenForm.BEGINNING else "ending in"
    return "|".join(f"[word {how} {quoted_token(value)}]" for value in ordered) + (
        f" such as {sample}" if sample else ""
    )


def _tokens_at(back: int, matches: NDArray[np.int64], training: TrainingTokens) -> Iterable[str]:
    for text, position in zip(training.text[matches].tolist(), training.position[matches].tolist(), strict=True):
        if position >= back:
            yield training.texts[text][position - back]


def _spellings(tokens: Iterable[str], most: int = _MOST_SPELLINGS) -> list[str]:
    """The tokens in quotes: the most frequent first, and of each word at most so many spellings."""
    by_word = Counter[str]()
    kept: dict[str, list[str]] = {}
    for token, count in Counter(tokens).most_common():
        word = token.strip().casefold() or token
        by_word[word] += count
        if len(kept.setdefault(word, [])) < most:
            kept[word].append(token)
    return [quoted_token(token) for word, _ in by_word.most_common() for token in kept[word]]
