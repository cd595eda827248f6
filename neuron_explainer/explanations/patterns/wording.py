"""Patterns and tokens as a text."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_explainer.explanations.asking.explanation import MOST_CHARACTERS
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.patterns.found_pattern import FoundPattern
from neuron_explainer.explanations.patterns.token_forms import quoted_token

_MOST_OF_PATTERN = 600
NOTHING = "no tokens in particular"
_N_WRITTEN = 5


def patterns_text(patterns: Sequence[FoundPattern], most: int) -> str:
    """The strongest patterns in words: what fires, and how high on average."""
    if not patterns:
        return NOTHING
    told = [f"{_cut(pattern.text)} → {pattern.activation:.3g}" for pattern in patterns[:most]]
    more = len(patterns) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def written_text(subject: Subject) -> str:
    """The output tokens that the component raises, as the end of a text; empty if nothing is known of them."""
    if subject.writes is None:
        return ""
    tokens = subject.writes(_N_WRITTEN)
    return f"; it raises {', '.join(map(quoted_token, tokens))}" if tokens else ""


def within_bounds(text: str) -> str:
    """A text that is short enough for an explanation."""
    return _cut(text, MOST_CHARACTERS - 1)


def _cut(text: str, most: int = _MOST_OF_PATTERN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
