"""Patterns and tokens as a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neuron_explainer.explanations.asking.explanation import MOST_CHARACTERS, Explanation
from neuron_explainer.explanations.asking.interfaces import Simulator
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.patterns.found_pattern import FoundPattern
from neuron_explainer.explanations.patterns.token_forms import quoted_token
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens

_MOST_OF_PATTERN = 600
NOTHING = "no tokens in particular"
_N_WRITTEN = 5
_N_OF_SHORT = 3


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


def shorter_than(n: int) -> list[int]:
    """Of how many the shorter explanations tell, beside one that has n to tell: the three strongest, the strongest."""
    return [most for most in (_N_OF_SHORT, 1) if most < n]


def explanations_told(
    explainer: str,
    subject: Subject,
    training: TrainingTokens,
    told: Iterable[tuple[str, Simulator]],
    details: Mapping[str, Any],
) -> list[Explanation]:
    """Explanations from their texts, each with the output tokens that the component raises, and short enough.

    Args:
        explainer: the explainer's name.
        subject: the component.
        training: what they are written from.
        told: the texts, and what simulates by them.
        details: what there is to say of all.
    """
    raised = written_text(subject)
    return [
        Explanation(_cut(text + raised, MOST_CHARACTERS - 1), explainer, simulator, training.written_from, details)
        for text, simulator in told
    ]


def _cut(text: str, most: int = _MOST_OF_PATTERN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
