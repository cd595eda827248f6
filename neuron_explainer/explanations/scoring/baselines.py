"""Explanations that say little, scored beside one that may say more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.interfaces import Scorer
from neuron_explainer.explanations.asking.subject import Subject

MOST_FREQUENT, ANOTHER = "most frequent token", "another explanation"
_SHARE_OF_HIGHEST = 0.5


@dataclass(frozen=True)
class OneToken:
    """Predicts 1 where a token is, and 0 elsewhere."""

    token: str

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """1 at the token, 0 elsewhere."""
        return [float(token == self.token) for token in tokens]


def most_frequent_token(subject: Subject) -> Explanation:
    """The token that most often has at least half of the highest activation, as an explanation.

    Args:
        subject: the component, whose examples for writing are counted.

    Raises:
        InvalidRequestError: it has no such examples.
    """
    bound, counts = _SHARE_OF_HIGHEST * subject.highest, Counter[str]()
    for example in subject.by_token.train:
        counts.update(token for token, value in zip(example.tokens, example.activations, strict=True) if value >= bound)
    token = max(counts, key=lambda each: (counts[each], each))
    return Explanation(f"the token {token.strip() or repr(token)}", "most frequent token", OneToken(token))


def baselines_of(
    explanation: Explanation, subject: Subject, scorer: Scorer, others: Sequence[Explanation]
) -> dict[str, float]:
    """The scores of explanations that say little.

    Args:
        explanation: what is scored.
        subject: the component.
        scorer: what scores.
        others: explanations of other components, of which the mean of the scores is taken.
    """
    found = {}
    token = most_frequent_token(subject)
    if token.text != explanation.text:
        found[MOST_FREQUENT] = scorer.score(token, subject).value
    if others:
        values = [scorer.score(each, subject).value for each in others]
        known = [value for value in values if not math.isnan(value)]
        found[ANOTHER] = float(np.mean(known)) if known else math.nan
    return found
