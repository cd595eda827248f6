"""A score of simulated activations as files of explanations hold it."""

from __future__ import annotations

import math
from typing import cast

import pandas

from neuron_explainer.activations.scored_explanations import (
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
)
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.scoring.measures import agreement
from neuron_explainer.explanations.scoring.score import ExplanationScore

OF_COMPONENT, OF_SIMULATOR = "neuron_activations", "simulated_normalized_activations"
"""The units that files know: the component's own, and the simulator's."""
_NEEDED = ("text", "position", "token", "simulated", "real")


def simulation_results(score: ExplanationScore) -> ScoredExplanation:
    """A score as `NeuronSimulationResults` hold it: the simulation of each text, its scores, and those over all texts.

    What was calibrated is in the component's own unit, and holds the uncalibrated simulation too. Where a prediction or
    a score is NaN, it is None.

    Args:
        score: what a SimulationScorer gives: its judgements are simulated activations, a row for each token.

    Raises:
        InvalidRequestError: the scorer does not simulate activations.

    >>> import pandas
    >>> rows = [(0, 0, "the", 0.0, 0.5), (0, 1, " cat", 8.0, 2.5)]
    >>> table = pandas.DataFrame(rows, columns=["text", "position", "token", "simulated", "real"])
    >>> score = ExplanationScore("cats", "L2N5", "simulation", "correlation", 1.0, judgements=table)
    >>> simulation_results(score).sequences[0].scores.ev_correlation_score
    1.0
    """
    table = score.judgements
    if missing := [name for name in _NEEDED if name not in table.columns]:
        raise InvalidRequestError(
            f"{shown(score.scorer)} does not simulate activations: its judgements have no column "
            f"{', '.join(missing)}. Give a score of a SimulationScorer."
        )
    table = pandas.DataFrame(table).sort_values(["text", "position"], kind="stable")
    scored = "calibrated" if "calibrated" in table.columns and table["calibrated"].notna().any() else "simulated"
    sequences = [_sequence(rows, scored) for _, rows in table.groupby("text", sort=True)]
    return ScoredExplanation(score.explanation, _scores(table, scored), sequences)


def _sequence(rows: pandas.DataFrame, scored: str) -> ScoredSequenceSimulation:
    by_simulator = _simulation(rows, "simulated", OF_SIMULATOR, None)
    simulation = _simulation(rows, "calibrated", OF_COMPONENT, by_simulator) if scored == "calibrated" else by_simulator
    real = [float(value) for value in rows["real"]]
    return ScoredSequenceSimulation(simulation, real, _scores(rows, scored))


def _simulation(
    rows: pandas.DataFrame, column: str, unit: str, uncalibrated: SequenceSimulation | None
) -> SequenceSimulation:
    expected = [_known(float(value)) for value in rows[column]]
    return SequenceSimulation(
        cast("list[str]", rows["token"].tolist()),
        expected,
        unit,
        [[] if value is None else [value] for value in expected],
        [[] if value is None else [1.0] for value in expected],
        uncalibrated,
    )


def _scores(rows: pandas.DataFrame, column: str) -> Scores:
    found = agreement(rows["real"], rows[column])
    return Scores(_known(found.correlation), _known(found.explained_variance), _known(found.explained_deviation))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
