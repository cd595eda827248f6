"""Explanations that say little, scored beside one that may say more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuron_explainer.errors import AnswerFormatError, InvalidRequestError
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.interfaces import Scorer
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.wording import in_a_sentence

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
) -> tuple[dict[str, float], list[str]]:
    """The scores of explanations that say little, and what there is to say of them.

    One that cannot be scored, as where a language model's answers to it cannot be read, has NaN: the score that it
    stands beside is not lost by it.

    Args:
        explanation: what is scored.
        subject: the component.
        scorer: what scores.
        others: explanations of other components, of which the mean of the scores is taken.
    """
    found, notes = dict[str, float](), list[str]()

    def value(baseline: Explanation, name: str) -> float:
        try:
            return scorer.score(baseline, subject).value
        except (AnswerFormatError, InvalidRequestError) as error:
            notes.append(f"{name} could not be scored: {in_a_sentence(error)}")
            return math.nan

    token = most_frequent_token(subject)
    if token.text != explanation.text:
        found[MOST_FREQUENT] = value(token, MOST_FREQUENT)
    if others:
        known = [each for each in (value(other, ANOTHER) for other in others) if not math.isnan(each)]
        found[ANOTHER] = float(np.mean(known)) if known else math.nan
    return found, notes
