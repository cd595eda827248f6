"""What entries of a person's own say of their component, from a file: checked, and in one spelling."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.names.records import record_asked
from neuron_explainer.components.notes.kept_file import EntryT
from neuron_explainer.errors import MalformedRecordError, NeuronExplainerError, shown
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import without_steering

_MOST_NAME_CHARACTERS = 4_000


def checked_component(entry: EntryT, what: str, source: str, kind: str) -> EntryT:
    """An entry of a file, with the component's name and the scalar's in their usual spelling.

    Args:
        entry: the entry; it has the fields subject, name, dst and when.
        what: which entry, such as "explanation 3".
        source: the file.
        kind: the kind of file.

    Raises:
        MalformedRecordError: its subject is empty, has characters that no text has, or is too long; its scalar or
            component does not exist; or its time is not one.
    """

    def refused(problem: str) -> MalformedRecordError:
        return MalformedRecordError(f"{what}: {problem}", source, kind)

    fields: dict[str, str] = {field: getattr(entry, field) for field in ("subject", "name", "dst", "when")}
    subject, when = fields["subject"], fields["when"]
    if not subject.strip() or len(subject) > _MOST_NAME_CHARACTERS:
        raise refused(f"its subject is {shown(subject)}; a dataset's or model's name is expected")
    for field, value in fields.items():
        if without_steering(value) != value or "\n" in value or "\t" in value:
            raise refused(f"its {field} is {shown(value)}, which has control characters")
    try:
        dst = derived_scalar_type_of(fields["dst"])
        layer, index, _ = record_asked(fields["name"], dst)
    except NeuronExplainerError as error:
        raise refused(without_steering(str(error))) from None
    if when and time_of(when) is None:
        raise refused(f"its time is {shown(when)}; a time such as 2024-05-01T12:00:00+00:00 is expected")
    name = str(NodeName.of(f"{layer}:{index}", kind=dst.node_type))
    changed: dict[str, Any] = {"name": name, "dst": dst.value}
    return msgspec.structs.replace(entry, **changed)


def time_of(when: str) -> datetime | None:
    """The time at which an entry was written; None if it is not said, or not a time."""
    try:
        time = datetime.fromisoformat(when)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def age_rank(when: str) -> datetime:
    """By which the newer of two entries is the better; one without a time is the oldest."""
    return time_of(when) or datetime.min.replace(tzinfo=UTC)
