"""From a score's judgements of a simulation to a ScoredExplanation, as files and pages of components have it."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    table = pandas.DataFrame(judgements).sort_values(["text", "position"], kind="stable")
    is_calibrated = "calibrated" in table.columns and bool(table["calibrated"].notna().any())
    columns = ["token", "real", "simulated", *(["calibrated"] if is_calibrated else [])]
    by_text: dict[Any, list[list[Any]]] = {}
    for text, *row in zip(*(table[name].tolist() for name in ("text", *columns)), strict=True):
        by_text.setdefault(text, []).append(row)
    expected = table["calibrated" if is_calibrated else "simulated"]
    texts = [_sequence(*map(list, zip(*rows, strict=True))) for rows in by_text.values()]
    return ScoredExplanation(score.explanation, _scores(table["real"], expected), texts)


def _sequence(
    tokens: list[Any], real: list[Any], simulated: list[Any], calibrated: list[Any] | None = None
) -> ScoredSequenceSimulation:
    texts = [str(token) for token in tokens]
    simulation = SequenceSimulation(texts, _known(simulated), SIMULATORS_UNIT)
    if calibrated is not None:
        simulation = SequenceSimulation(texts, _known(calibrated), OWN_UNIT, uncalibrated_simulation=simulation)
    scores = _scores(real, simulated if calibrated is None else calibrated)
    return ScoredSequenceSimulation(simulation, [float(value) for value in real], scores)


def _known(values: Iterable[Any]) -> list[float | None]:
    """Predictions or scores; None where there is none."""
    numbers = np.asarray(list(values), np.float64)
    return [float(value) if math.isfinite(value) else None for value in numbers]


def _scores(real: ArrayLike, expected: ArrayLike) -> Scores:
    found = agreement(real, expected)
    return Scores(*_known([found.correlation, found.explained_variance, found.explained_deviation]))
