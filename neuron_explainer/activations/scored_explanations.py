"""Explanations of neurons in words, with the scores of simulations of the neuron that are based on them.

The method and its scores: Bills et al., "Language models can explain neurons in language models" (2023).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SequenceSimulation:
    """The activations that a simulator, given an explanation, predicts for a text.

    Attributes:
        tokens: the text; (tokens,).
        expected_activations: the predictions, (tokens,); None where the simulator made none.
        activation_scale: the unit of the predictions: the neuron's own, or the simulator's.
        distribution_values, distribution_probabilities: for each token, the possible values and their probabilities
            according to the simulator.
        uncalibrated_simulation: the simulation before it was calibrated to the neuron's own unit; None if it was not.
    """

    tokens: list[str]
    expected_activations: list[float | None]
    activation_scale: str | None = None
    distribution_values: list[list[float]] = field(default_factory=list)
    distribution_probabilities: list[list[float]] = field(default_factory=list)
    uncalibrated_simulation: "SequenceSimulation | None" = None


@dataclass(frozen=True)
class Scores:
    """How well a simulation predicts the neuron's activations. 1 is perfect; None: could not be computed.

    Attributes:
        ev_correlation_score: the correlation of expected and true activations.
        rsquared_score: the share of the true activations' variance that the simulation explains.
        absolute_dev_explained_score: the share of their mean absolute deviation that it explains.
    """

    ev_correlation_score: float | None = None
    rsquared_score: float | None = None
    absolute_dev_explained_score: float | None = None


@dataclass(frozen=True)
class ScoredSequenceSimulation:
    """A simulation on one text, the neuron's `true_activations` there, (tokens,), and the scores."""

    sequence_simulation: SequenceSimulation
    true_activations: list[float]
    scores: Scores


@dataclass(frozen=True)
class ScoredExplanation:
    """An explanation, its scores over all texts, and the simulation on each text."""

    explanation: str
    scores: Scores
    sequences: list[ScoredSequenceSimulation]


@dataclass(frozen=True)
class NeuronSimulationResults:
    """All explanations of one neuron. `source` is the file or address they were read from."""

    neuron_id: NeuronId
    scored_explanations: list[ScoredExplanation]
    source: str | None = field(default=None, compare=False)

    def to_dataframe(self) -> "pd.DataFrame":
        """A table with one row per explanation: explanation, the three scores, n_sequences (texts it was scored on).

        Control and direction characters of explanations become escapes.
        """
        import pandas as pd

        scores = ["ev_correlation_score", "rsquared_score", "absolute_dev_explained_score"]
        rows = [
            {
                "explanation": without_steering(each.explanation),
                **{name: getattr(each.scores, name) for name in scores},
                "n_sequences": len(each.sequences),
            }
            for each in self.scored_explanations
        ]
        return pd.DataFrame(rows, columns=["explanation", *scores, "n_sequences"])
