"""A language model's judgements of texts as a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.language_models.judging import Judgement
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.separation import area_of
from neuron_explainer.explanations.scoring.texts import JudgedText, interval_by_source
from neuron_explainer.wording import counted, without_steering


@dataclass(frozen=True)
class AskedText:
    """A text that was judged.

    Attributes:
        text: the piece that it is of.
        shown: what the language model saw.
        kind: what it is, in words.
        is_right: whether the right answer is yes.
    """

    text: JudgedText
    shown: str
    kind: str
    is_right: bool


def score_of_judgements(
    explanation: Explanation,
    subject: Subject,
    scorer: str,
    asked: Sequence[AskedText],
    judged: Sequence[Judgement | None],
    note: str = "",
) -> ExplanationScore:
    """The AUROC of the confidences, or where judgements have none, the balanced accuracy.

    Args:
        explanation: what is scored.
        subject: the component.
        scorer: the scorer's name.
        asked: the texts.
        judged: what was answered about each; None: nothing that could be read.
        note: what there is to say of the texts.
    """
    known = np.array([each is not None for each in judged])
    truth = np.array([each.is_right for each in asked])
    fits = np.array([each is not None and each.fits for each in judged])
    confidence = np.array([math.nan if each is None or each.confidence is None else each.confidence for each in judged])
    has_confidences = bool(np.isfinite(confidence[known]).all())

    place = np.cumsum(known) - 1  # among those that are known
    area_of_known = area_of(truth[known], confidence[known])

    def area(numbers: NDArray[np.int64]) -> float:
        return area_of_known(place[numbers[known[numbers]]])

    def balanced(numbers: NDArray[np.int64]) -> float:
        chosen = numbers[known[numbers]]
        return (_share(fits[chosen], truth[chosen]) + _share(~fits[chosen], ~truth[chosen])) / 2

    value: Callable[[NDArray[np.int64]], float] = area if has_confidences else balanced
    everything = np.arange(len(asked))
    notes = [note] if note else []
    if not known.all():
        notes.append(f"{int((~known).sum())} of {counted(len(known), 'judgement')} could not be read")
    if known.any() and not has_confidences and np.isfinite(confidence).any():
        notes.append(f"{int((known & ~np.isfinite(confidence)).sum())} judgements have no confidence")
    kinds = np.array([each.kind for each in asked])
    return ExplanationScore(
        explanation.text,
        subject.name,
        scorer,
        "AUROC" if has_confidences else "balanced accuracy",
        value(everything),
        interval_by_source(value, [each.text for each in asked]),
        0.5,
        measures={
            **({"AUROC": area(everything)} if has_confidences else {}),
            "balanced accuracy": balanced(everything),
            **_confusion(truth[known], fits[known]),
            **{
                f"accuracy on {kind}": _share((fits == truth)[known], kinds[known] == kind)
                for kind in dict.fromkeys(kinds.tolist())
            },
            "not judged": float((~known).sum()),
        },
        judgements=_table(asked, judged),
        note="; ".join(notes),
    )


def _confusion(truth: NDArray[np.bool_], fits: NDArray[np.bool_]) -> dict[str, float]:
    return {
        "accuracy": _share(fits == truth, np.ones_like(truth)),
        "true positive rate": _share(fits, truth),
        "false positive rate": _share(fits, ~truth),
        "true positives": float((fits & truth).sum()),
        "false positives": float((fits & ~truth).sum()),
        "true negatives": float((~fits & ~truth).sum()),
        "false negatives": float((~fits & truth).sum()),
    }


def _share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """How many of some are so; NaN if there are none."""
    return float(of[among].mean()) if among.any() else math.nan


def _table(asked: Sequence[AskedText], judged: Sequence[Judgement | None]) -> pandas.DataFrame:
    rows = [
        (
            without_steering(each.shown),
            each.kind,
            each.text.activation,
            pandas.NA if answer is None else answer.fits,
            math.nan if answer is None or answer.confidence is None else answer.confidence,
            pandas.NA if answer is None else answer.fits == each.is_right,
        )
        for each, answer in zip(asked, judged, strict=True)
    ]
    table = TokenTable(rows, columns=["text", "kind", "activation", "judgement", "confidence", "right"])
    return table.astype({"judgement": "boolean", "right": "boolean"})
