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
_LONGEST = 200


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
    said = token.strip() or repr(token)
    cut = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
    return Explanation(f"the token {cut}", "most frequent token", OneToken(token))


def baselines_of(
    explanation: Explanation, subject: Subject, scorer: Scorer, others: Sequence[Explanation]
) -> tuple[dict[str, float], str]:
    """The scores of explanations that say little, and what there is to say of them.

    A baseline that the scorer cannot score, as where no answer to it can be read, is NaN, and said: it takes nothing
    from the score beside it.

    Args:
        explanation: what is scored.
        subject: the component.
        scorer: what scores.
        others: explanations of other components, of which the mean of the scores is taken. One with the same text is
            none of another component, and left out.
    """
    found, problems = dict[str, float](), list[str]()

    def value_of(name: str, each: Explanation) -> float:
        try:
            return float(scorer.score(each, subject).value)
        except (AnswerFormatError, InvalidRequestError) as error:
            problems.append(f"the baseline {name!r} could not be scored: {in_a_sentence(error)}")
            return math.nan

    token = most_frequent_token(subject)
    if token.text != explanation.text:
        found[MOST_FREQUENT] = value_of(MOST_FREQUENT, token)
    if different := [each for each in others if each.text != explanation.text]:
        known = [value for each in different if not math.isnan(value := value_of(ANOTHER, each))]
        found[ANOTHER] = float(np.mean(known)) if known else math.nan
    return found, "; ".join(dict.fromkeys(problems))
