"""From a score's judgements of a simulation to a ScoredExplanation, as files and pages of components have it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas
from numpy.typing import ArrayLike

from neuron_explainer.activations.scored_explanations import (
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
)
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations.scoring.measures import agreement
from neuron_explainer.explanations.scoring.score import ExplanationScore

OWN_UNIT, SIMULATORS_UNIT = "neuron_activations", "simulated_normalized_activations"
"""OpenAI's names of the unit of a calibrated simulation, and of one that is not."""

_OF_SIMULATIONS = ("text", "position", "token", "simulated", "real")


def is_of_simulation(judgements: pandas.DataFrame) -> bool:
    """Whether a score's judgements are simulated activations beside real ones, token by token."""
    return all(name in judgements.columns for name in _OF_SIMULATIONS)


def scored_explanation(score: ExplanationScore) -> ScoredExplanation:
    """A score of a simulation as an explanation with scores and simulations, text by text, as OpenAI's files have it.

    The scores are OpenAI's three of the calibrated simulation where there is one, over the tokens of all texts, and of
    each text; those that are not defined are None.

    Args:
        score: a score whose judgements have a row for each token: text, position, token, simulated, real, and perhaps
            calibrated.

    Raises:
        InvalidRequestError: the score is not one of a simulation.
    """
    judgements = score.judgements
    if not is_of_simulation(judgements):
        raise InvalidRequestError(
            f"The score by {score.scorer} is not of a simulation: it has no simulated activation for each token. A "
            "PatternScorer or a SimulationScorer gives such."
        )
    is_calibrated = "calibrated" in judgements.columns and bool(judgements["calibrated"].notna().any())
    texts = [_sequence(rows, is_calibrated) for _, rows in pandas.DataFrame(judgements).groupby("text", sort=True)]
    expected = judgements["calibrated" if is_calibrated else "simulated"]
    return ScoredExplanation(score.explanation, _scores(judgements["real"], expected), texts)


def _sequence(rows: pandas.DataFrame, is_calibrated: bool) -> ScoredSequenceSimulation:
    ordered = rows.sort_values("position", kind="stable")
    tokens, real = [str(token) for token in ordered["token"]], [float(value) for value in ordered["real"]]
    simulation = SequenceSimulation(tokens, _known(ordered["simulated"]), SIMULATORS_UNIT)
    if is_calibrated:
        simulation = SequenceSimulation(
            tokens, _known(ordered["calibrated"]), OWN_UNIT, uncalibrated_simulation=simulation
        )
    expected = [math.nan if value is None else value for value in simulation.expected_activations]
    return ScoredSequenceSimulation(simulation, real, _scores(real, expected))


def _known(values: Iterable[Any]) -> list[float | None]:
    """Predictions; None where there is none."""
    numbers = np.asarray(list(values), np.float64)
    return [float(value) if math.isfinite(value) else None for value in numbers]


def _scores(real: ArrayLike, expected: ArrayLike) -> Scores:
    found = agreement(real, expected)
    return Scores(*(_finite([found.correlation, found.explained_variance, found.explained_deviation])))


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
