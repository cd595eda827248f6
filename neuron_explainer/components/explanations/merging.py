"""Explanations from a file: checked, in one spelling, and merged with those that are kept.

An explanation is the same as another one if subject, component, scalar and text are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.names.records import record_asked
from neuron_explainer.components.explanations.own_file import OwnExplanation
from neuron_explainer.errors import MalformedRecordError, NeuronExplainerError, shown
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import without_steering

_KIND = "file of own explanations"
_MOST_NAME_CHARACTERS = 4_000


def identity(entry: OwnExplanation) -> tuple[str, str, str, str]:
    """What makes an explanation the same as another."""
    return entry.subject, entry.name, entry.dst, entry.text


def replaced_or_added(kept: Iterable[OwnExplanation], entry: OwnExplanation) -> list[OwnExplanation]:
    """What is kept with one more in it; all that are the same become the new one, in the first one's place."""
    result: list[OwnExplanation] = []
    for each in kept:
        if identity(each) != identity(entry):
            result.append(each)
        elif entry not in result:
            result.append(entry)
    return result if entry in result else [*result, entry]


def merged_entries(kept: Iterable[OwnExplanation], found: Iterable[OwnExplanation]) -> tuple[list[OwnExplanation], int]:
    """What is kept with what a file has, each explanation once, and how many are new.

    Of two that are the same, the one with a score stays; if both have one, or neither, the newer.
    """
    result: dict[tuple[str, str, str, str], OwnExplanation] = {}
    for each in kept:
        _take(result, each)
    n_before = len(result)
    for each in found:
        _take(result, each)
    return list(result.values()), len(result) - n_before


def checked_entry(entry: OwnExplanation, number: int, source: str) -> OwnExplanation:
    """An explanation of a file, with the component's name and the scalar's in their usual spelling.

    Args:
        entry: the explanation.
        number: its place in the file, from 1.
        source: the file.

    Raises:
        MalformedRecordError: its text or subject is empty, has characters that no text has, or is too long; its scalar
            or component does not exist; or its time is not one.
    """

    def refused(problem: str) -> MalformedRecordError:
        return MalformedRecordError(f"explanation {number}: {problem}", source, _KIND)

    if not entry.text.strip():
        raise refused("its text is empty")
    if not entry.subject.strip() or len(entry.subject) > _MOST_NAME_CHARACTERS:
        raise refused(f"its subject is {shown(entry.subject)}; a dataset's or model's name is expected")
    for field in ("subject", "name", "dst", "when"):
        value = getattr(entry, field)
        if without_steering(value) != value or "\n" in value or "\t" in value:
            raise refused(f"its {field} is {shown(value)}, which has control characters")
    try:
        dst = derived_scalar_type_of(entry.dst)
        layer, index, _ = record_asked(entry.name, dst)
    except NeuronExplainerError as error:
        raise refused(without_steering(str(error))) from None
    if entry.when and _time_of(entry) is None:
        raise refused(f"its time is {shown(entry.when)}; a time such as 2024-05-01T12:00:00+00:00 is expected")
    name = str(NodeName.of(f"{layer}:{index}", kind=dst.node_type))
    return msgspec.structs.replace(entry, name=name, dst=dst.value)


def _take(result: dict[tuple[str, str, str, str], OwnExplanation], entry: OwnExplanation) -> None:
    before = result.get(identity(entry))
    if before is None or _rank(entry) > _rank(before):
        result[identity(entry)] = entry


def _rank(entry: OwnExplanation) -> tuple[bool, datetime]:
    return entry.score is not None, _time_of(entry) or datetime.min.replace(tzinfo=UTC)


def _time_of(entry: OwnExplanation) -> datetime | None:
    """The time at which it was written; None if it is not said, or not a time."""
    try:
        time = datetime.fromisoformat(entry.when)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
