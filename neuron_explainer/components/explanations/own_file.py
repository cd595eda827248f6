"""One's own explanations, in the small file `own_explanations.json` beside the disk cache."""

from __future__ import annotations

import msgspec

from neuron_explainer.components.notes.kept_file import MOST_CHARACTERS, KeptFile, now
from neuron_explainer.errors import InvalidRequestError


class OwnExplanation(msgspec.Struct, frozen=True):
    """One explanation that a person wrote.

    Attributes:
        subject: the dataset or model of the component.
        name: the component, such as L5N131.
        dst: the derived scalar that is its activation.
        text: the explanation.
        score: how well it explains, by whatever measure its author used; None if it was not scored.
        when: the time at which it was written, in UTC, as ISO 8601.
        measure: what the score is, such as "AUROC, embedding"; empty if its author did not say.
    """

    subject: str
    name: str
    dst: str
    text: str
    score: float | None = None
    when: str = ""
    measure: str = ""


def _problem(explanation: OwnExplanation) -> str:
    is_long = len(explanation.text) > MOST_CHARACTERS
    return f"an explanation has more than {MOST_CHARACTERS:,} characters" if is_long else ""


OWN_EXPLANATIONS = KeptFile(
    "own_explanations.json", OwnExplanation, "explanations", "file of own explanations", _problem
)


def own_entries(subject: str | None = None, name: str | None = None, dst: str | None = None) -> list[OwnExplanation]:
    """The explanations kept, the oldest first: all, or those of a subject, a component and a scalar.

    Raises:
        MalformedRecordError: the file is damaged.
        UnreadableFileError: the system refuses to read it.
    """
    wanted = {"subject": subject, "name": name, "dst": dst}
    return [
        each
        for each in OWN_EXPLANATIONS.entries()
        if all(value is None or getattr(each, field) == value for field, value in wanted.items())
    ]


def new_entry(subject: str, name: str, dst: str, text: str, score: float | None, measure: str) -> OwnExplanation:
    """An explanation that is written now.

    Raises:
        InvalidRequestError: the text is empty or too long.
    """
    if not text.strip():
        raise InvalidRequestError("The explanation is empty. Write what the component does.")
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"The explanation has {len(text):,} characters. Write at most {MOST_CHARACTERS:,} of them."
        )
    return OwnExplanation(subject, name, dst, text, score, now(), measure)
