"""Explanations of one's own that are the same: of the same subject, component and scalar, with the same text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neuron_explainer.components.explanations.own_file import OWN_EXPLANATIONS, OwnExplanation
from neuron_explainer.components.notes.checks import age_rank, checked_component
from neuron_explainer.errors import MalformedRecordError


def identity(entry: OwnExplanation) -> tuple[str, str, str, str]:
    """What makes an explanation the same as another."""
    return entry.subject, entry.name, entry.dst, entry.text


def rank(entry: OwnExplanation) -> tuple[Any, ...]:
    """Of two that are the same, the one with a score is the better; if both have one, or neither, the newer."""
    return entry.score is not None, age_rank(entry.when)


def replaced_or_added(kept: Iterable[OwnExplanation], entry: OwnExplanation) -> list[OwnExplanation]:
    """What is kept with one more in it; all that are the same become the new one, in the first one's place."""
    result: list[OwnExplanation] = []
    for each in kept:
        if identity(each) != identity(entry):
            result.append(each)
        elif entry not in result:
            result.append(entry)
    return result if entry in result else [*result, entry]


def checked_entry(entry: OwnExplanation, number: int, source: str) -> OwnExplanation:
    """An explanation of a file, in its usual spelling.

    Raises:
        MalformedRecordError: its text is empty, or as `checked_component`.
    """
    if not entry.text.strip():
        raise MalformedRecordError(f"explanation {number}: its text is empty", source, OWN_EXPLANATIONS.kind)
    return checked_component(entry, f"explanation {number}", source, OWN_EXPLANATIONS.kind)
