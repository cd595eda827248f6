"""How well a number for each text tells those on which a component is active from others, as a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.texts import JudgedText, interval_by_source, notes_of_few
from neuron_explainer.wording import without_steering


def separation(
    explanation: Explanation,
    subject: Subject,
    scorer: str,
    texts: Sequence[JudgedText],
    values: Sequence[float],
    columns: Mapping[str, Sequence[float]],
    note: str = "",
) -> ExplanationScore:
    """The AUROC of a number for each text, with its interval over the texts, and against each kind of negatives.

    Args:
        explanation: what is scored.
        subject: the component.
        scorer: the scorer's name.
        texts: the texts.
        values: the number for each text; higher where the explanation fits.
        columns: what each judgement shows beside the text, its kind and activation; the last are the numbers.
        note: what there is to say of the score.
    """
    of = list(columns)[-1]
    notes = ([note] if note else []) + notes_of_few(len(texts))
    numbers = np.asarray(values, np.float64)
    positive = np.array([each.is_positive for each in texts])
    area = area_of(positive, numbers)
    rows = {
        "text": [without_steering(each.text) for each in texts],
        "kind": [each.kind for each in texts],
        "activation": [each.activation for each in texts],
        **{name: list(column) for name, column in columns.items()},
    }
    against = {
        f"AUROC against {plural}": area(
            np.array([at for at, each in enumerate(texts) if each.kind in ("positive", kind)])
        )
        for kind, plural in (("random", "random texts"), ("near miss", "near misses"))
    }
    return ExplanationScore(
        explanation.text,
        subject.name,
        scorer,
        "AUROC",
        area(np.arange(len(texts))),
        interval_by_source(area, texts),
        0.5,
        measures={f"mean difference of {of}": float(numbers[positive].mean() - numbers[~positive].mean()), **against},
        judgements=TokenTable(rows),
        note="; ".join(notes),
    )


def area_of(is_positive: ArrayLike, values: ArrayLike) -> Callable[[NDArray[np.int64]], float]:
    """The area under the ROC curve, as a function of which examples are looked at; one may be there more than once.

    As `auroc`, but all pairs are compared once, and so thousands of choices take little time.

    Args:
        is_positive: whether each example is a positive one, (examples,).
        values: the number of each, (examples,).

    >>> area_of([True, True, False, False], [0.9, 0.4, 0.4, 0.1])(np.arange(4))
    0.875
    """
    positive, numbers = np.asarray(is_positive, bool), np.asarray(values, np.float64)
    difference = numbers[positive][:, None] - numbers[~positive]
    wins = (difference > 0) + 0.5 * (difference == 0)

    def area(chosen: NDArray[np.int64]) -> float:
        counts = np.bincount(chosen, minlength=len(numbers))
        n_pairs = counts[positive].sum() * counts[~positive].sum()
        return float(counts[positive] @ wins @ counts[~positive] / n_pairs) if n_pairs else math.nan

    return area
