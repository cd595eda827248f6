"""An explainer and scorers without patterns or language models, for what is done with many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

import neuron_explainer as ne
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


NODES = ["L0N3", "L1N355", "L1N356", "L2N5", "L3N7", "L3N8"]


def explained(out: Path, nodes: Any = NODES, *, explainer: Any = None, scorers: Any = None, **options: Any) -> Any:
    """What `ne.explain_dataset` makes of some neurons of `tiny`, without baselines."""
    judges: Any = [SimulatedScorer(), LengthScorer()] if scorers is None else scorers
    given = explainer or FrequentTokenExplainer()
    return ne.explain_dataset("tiny", nodes, given, judges, out, **{"baselines": False} | options)


def files_of(folder: Path) -> dict[str, bytes]:
    """The contents of a folder's files, by their paths within it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
