"""`PatternScorer`: how well an explanation predicts activations by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.scoring.calibration import LinearCalibration
from neuron_explainer.explanations.scoring.measures import agreement
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.simulation_scorer import SimulationScorer, simulated_texts


class PatternScorer:
    """Simulates with an explanation's own simulator, such as its patterns, and compares with the real activations.

    The value is Pearson's correlation of simulated and real activations over all tokens of the texts for scoring. It is
    that of the simulation as it is: an explanation that says the opposite of what is true has a negative one, which a
    calibration would turn around. `measures` has OpenAI's scores after a linear calibration on the texts for that
    which the explanation was not written from; NaN without any.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import PatternExplainer, PatternScorer, explain, score
    >>> record = ne.load_neuron("tiny", 0, 3)
    >>> found = score(explain(record, PatternExplainer())[0], record, PatternScorer())
    >>> found.measure, found.value > found.baselines["most frequent token"]
    ('correlation', True)
    """

    name = "pattern"

    def __repr__(self) -> str:
        return "PatternScorer()"

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The score; `judgements` has a row for each token: text, position, token, simulated, calibrated, real.

        Args:
            explanation: one that can simulate.
            subject: the component.

        Raises:
            InvalidRequestError: the explanation is words alone, or there are no texts to score by.
        """
        if explanation.simulator is None:
            raise InvalidRequestError(
                f"{shown(explanation.text)} is words alone, which predict nothing by themselves. A PatternScorer "
                "scores what a PatternExplainer or TokenExplainer writes; for words, there are EmbeddingScorer(), "
                "SurprisalScorer(model) and SimulationScorer(client)."
            )
        found = SimulationScorer(calibrate=None).score(explanation, subject)
        judgements = TokenTable(found.judgements)
        if examples := [
            each for each in subject.by_token.calibration if text_key(each) not in explanation.written_from
        ]:
            calibration = LinearCalibration.fitted(
                list(chain.from_iterable(each.activations for each in examples)),
                list(chain.from_iterable(simulated_texts(explanation.simulator, [each.tokens for each in examples]))),
            )
            judgements["calibrated"] = calibration.of(judgements["simulated"])
        return replace(
            found,
            scorer=self.name,
            measures=agreement(judgements["real"], judgements["calibrated"]).by_name()
            | {f"uncalibrated {name}": value for name, value in found.measures.items()},
            judgements=judgements,
        )
