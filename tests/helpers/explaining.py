"""An explainer and scorers without patterns or language models, for what is done with many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas

from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.scoring.baselines import OneToken, most_frequent_token
from neuron_explainer.explanations.scoring.measures import agreement
from neuron_explainer.explanations.scoring.score import ExplanationScore


class FrequentTokenExplainer:
    """Says which token is most frequent, in so many wordings; `before` is told of each component."""

    def __init__(self, wording: str = "the token", before: Callable[[str], object] = lambda name: None) -> None:
        self.name, self.wording, self._before = "frequent", wording, before

    def explain(self, subject: Subject, n: int) -> list[Explanation]:
        self._before(subject.name)
        token = most_frequent_token(subject).simulator
        assert isinstance(token, OneToken)
        texts = [f"{self.wording} {token.token!r}{'!' * number}" for number in range(n)]
        patterns = pandas.DataFrame({"pattern": [token.token], "token": [token.token], "activation": [subject.highest]})
        return [Explanation(text, self.name, token, details={"patterns": patterns}) for text in texts]


@dataclass(eq=False)
class SimulatedScorer:
    """The correlation of what an explanation simulates and the real activations."""

    name: str = "simulated"
    is_calibrated: bool = False

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        rows = []
        for number, example in enumerate(subject.by_token.test):
            simulated = explanation.simulate(example.tokens)
            both = zip(example.tokens, simulated, example.activations, strict=True)
            rows += [(number, position, *each) for position, each in enumerate(both)]
        judgements = pandas.DataFrame(rows, columns=["text", "position", "token", "simulated", "real"])
        if self.is_calibrated:
            judgements["calibrated"] = 2 * judgements["simulated"] + 0.5
        value = agreement(judgements["real"], judgements["simulated"]).correlation
        return ExplanationScore(
            explanation.text, subject.name, self.name, "correlation", value, (0.1, 0.9), judgements=judgements
        )


@dataclass(eq=False)
class LengthScorer:
    """A score of the words alone."""

    name: str = "length"
    fails: Sequence[str] = ()
    error: type[Exception] = ArithmeticError

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        if subject.name in self.fails:
            raise self.error(f"{subject.name} is too long")
        texts = [f"text {number}" for number in range(4)]
        judged = {"text": texts, "kind": ["top", "top", "random", "near"], "judged": [0.9, 0.2, 0.8, 0.1]}
        judgements = pandas.DataFrame({**judged, "is_active": [True, True, False, False]})
        value = len(explanation.text) / 100
        return ExplanationScore(
            explanation.text, subject.name, self.name, "AUROC", value, (math.nan, math.nan), 0.5, judgements=judgements
        )
