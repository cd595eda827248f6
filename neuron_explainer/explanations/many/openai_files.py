"""Writes explanations with their simulations as OpenAI's files, which `load_explanations` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuron_explainer.activations.scored_explanations import (
    NeuronSimulationResults,
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
)
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import local_path
from neuron_explainer.vocabulary.checks import checked_flag
from neuron_explainer.wording import as_valid_text


def save_explanations(
    results: NeuronSimulationResults, folder: str | os.PathLike[str], *, durable: bool = True
) -> Path:
    """Write the explanations of one component as OpenAI's file, `{layer}/{index}.jsonl`, which is replaced as a whole.

    The spelling is that of Transformer Debugger, whose own code reads the file, too; `ne.load_explanations` gives back
    what was written.

    Args:
        results: the explanations of a component.
        folder: the dataset of explanations; it is made if it is missing.
        durable: whether the file is on the disk, and not only on its way there, when the call ends.

    Returns:
        The file.

    Raises:
        InvalidRequestError: `results` is something else.
        UnsupportedLocationError: `folder` is not a local path.

    >>> import tempfile
    >>> import neuron_explainer as ne
    >>> from neuron_explainer.activations.explanation_files import ScoredExplanation, Scores
    >>> said = NeuronSimulationResults(ne.NeuronId(2, 5), [ScoredExplanation("names", Scores(0.5), [])])
    >>> folder = tempfile.mkdtemp()
    >>> path = save_explanations(said, folder)
    >>> ne.load_explanations(folder, "L2N5") == said
    True
    """
    checked_results("results", results)
    identity = results.neuron_id
    path = local_path("folder", folder) / str(identity.layer_index) / f"{identity.neuron_index}.jsonl"
    write_bytes_atomically(path, explanations_to_json(results), durable=checked_flag("durable", durable))
    return path


def checked_results(name: str, results: object) -> NeuronSimulationResults:
    """The explanations of a component as files have them.

    Raises:
        InvalidRequestError: they are something else, such as what `ne.explain` gives.
    """
    if not isinstance(results, NeuronSimulationResults):
        raise InvalidRequestError(
            f"{name} is {shown(results)}. Give what ne.load_explanations gives, or NeuronSimulationResults("
            "ne.NeuronId(layer, index), [scored_explanation(score)]); that class is in "
            "neuron_explainer.activations.scored_explanations."
        )
    return results


def explanations_to_json(results: NeuronSimulationResults) -> bytes:
    """The bytes of a file of explanations, one line. `explanations_from_json` reads them.

    Characters that cannot be encoded become escapes.
    """
    fields = _named(
        "NeuronSimulationResults",
        neuron_id=_named(
            "NeuronId", layer_index=results.neuron_id.layer_index, neuron_index=results.neuron_id.neuron_index
        ),
        scored_explanations=[_explanation(each) for each in results.scored_explanations],
    )
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _named(kind: str, **fields: Any) -> dict[str, Any]:
    """An object with its class's name, by which OpenAI's own reader knows it."""
    return {"dataclass_name": kind, **fields}


def _explanation(each: ScoredExplanation) -> dict[str, Any]:
    simulation = _named(
        "ScoredSimulation",
        scored_sequence_simulations=[_sequence(sequence) for sequence in each.sequences],
        **_scores(each.scores),
    )
    return _named("ScoredExplanation", explanation=as_valid_text(each.explanation), scored_simulation=simulation)


def _sequence(each: ScoredSequenceSimulation) -> dict[str, Any]:
    return _named(
        "ScoredSequenceSimulation",
        sequence_simulation=_simulation(each.sequence_simulation),
        true_activations=each.true_activations,
        **_scores(each.scores),
    )


def _simulation(each: SequenceSimulation) -> dict[str, Any]:
    inner = each.uncalibrated_simulation
    return _named(
        "SequenceSimulation",
        tokens=[as_valid_text(token) for token in each.tokens],
        expected_activations=each.expected_activations,
        activation_scale=each.activation_scale,
        distribution_values=each.distribution_values,
        distribution_probabilities=each.distribution_probabilities,
        uncalibrated_simulation=None if inner is None else _simulation(inner),
    )


def _scores(scores: Scores) -> Mapping[str, float | None]:
    return {
        "ev_correlation_score": scores.ev_correlation_score,
        "rsquared_score": scores.rsquared_score,
        "absolute_dev_explained_score": scores.absolute_dev_explained_score,
    }
