"""Reads the published explanations of neurons, in the present spelling of their files or an older one.

A dataset of explanations is an http(s) address or a local folder with one file per neuron, `{layer}/{index}.jsonl`, of
one line.
"""

import os
from functools import partial
from typing import SupportsIndex, TypeVar

import msgspec

from neuron_explainer.activations.activations import record_location
from neuron_explainer.activations.neuron_ids import NeuronId, checked_index
from neuron_explainer.activations.record_json import NeuronIdFields, finite_or_none, warn_of_another
from neuron_explainer.activations.scored_explanations import (
    NeuronSimulationResults,
    ScoredExplanation,
    ScoredSequenceSimulation,
    Scores,
    SequenceSimulation,
)
from neuron_explainer.errors import MalformedRecordError, MissingFileError, NeuronNotFoundError
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.storage.reading import read_decoded
from neuron_explainer.storage.tolerant_json import decode_tolerantly

__all__ = [
    "NeuronSimulationResults",
    "ScoredExplanation",
    "ScoredSequenceSimulation",
    "Scores",
    "SequenceSimulation",
    "explanations_from_json",
    "load_explanations",
]

T = TypeVar("T")
_KIND = "explanations file"


def load_explanations(
    explanations_path: str | os.PathLike[str],
    layer_index: SupportsIndex | str,
    neuron_index: SupportsIndex | str,
    *,
    use_cache: bool = True,
) -> NeuronSimulationResults:
    """Load the explanations of one neuron from the dataset of explanations at a path.

    `neuron_explainer.load_explanations` does the same by a registered short name.

    Args:
        explanations_path: an http(s) address or a local folder.
        layer_index: the layer, from 0.
        neuron_index: the neuron in the layer, from 0.
        use_cache: whether downloads are read from and kept in the disk cache.

    Raises:
        NeuronNotFoundError: the neuron has no explanations there.
        MalformedRecordError: the file is not a valid explanations file.
        DownloadError: the address could not be read.
        InvalidRequestError: an index is negative or not a whole number.

    Warns:
        UnexpectedContentWarning: the file is of another neuron.
    """
    location = record_location(explanations_path, layer_index, neuron_index, "jsonl")
    try:
        decode = partial(explanations_from_json, source=without_secrets(location))
        results = read_decoded(location, decode, use_cache=use_cache)
    except MissingFileError as error:
        raise NeuronNotFoundError(
            f"{without_secrets(explanations_path)} has no explanations of neuron {neuron_index} in layer "
            f"{layer_index}: {error}."
        ) from None
    warn_of_another(
        results.neuron_id,
        NeuronId(checked_index("layer", layer_index, digits=True), checked_index("neuron", neuron_index, digits=True)),
        without_secrets(location),
    )
    return results


class _SimulationFields(msgspec.Struct):
    """A simulation as files spell it: each field by every name that it has had. Other fields are skipped."""

    tokens: list[str]
    expected_activations: list[float | None]
    activation_scale: str | None = None
    unit: str | None = None
    distribution_values: list[list[float]] | None = None
    distribution_probabilities: list[list[float]] | None = None
    uncalibrated_simulation: "_SimulationFields | None" = None


class _ScoreFields(msgspec.Struct):
    ev_correlation_score: float | None = None
    rsquared_score: float | None = None
    absolute_dev_explained_score: float | None = None

    def checked(self) -> Scores:
        """The scores; None for a score that is not finite."""
        return Scores(
            finite_or_none(self.ev_correlation_score),
            finite_or_none(self.rsquared_score),
            finite_or_none(self.absolute_dev_explained_score),
        )


class _SequenceFields(_ScoreFields, kw_only=True):
    true_activations: list[float]
    sequence_simulation: _SimulationFields | None = None
    simulation: _SimulationFields | None = None


class _ScoredSimulationFields(_ScoreFields):
    scored_sequence_simulations: list[_SequenceFields] = []


class _ExplanationFields(msgspec.Struct):
    scored_simulation: _ScoredSimulationFields
    explanation: str | None = None
    explanation_or_baseline: str | None = None


class _ResultsFields(msgspec.Struct):
    neuron_id: NeuronIdFields
    scored_explanations: list[_ExplanationFields] | None = None
    scored_explanation_or_baseline_list: list[_ExplanationFields] | None = None


_DECODER = msgspec.json.Decoder(_ResultsFields)


def explanations_from_json(content: bytes, source: str | None = None) -> NeuronSimulationResults:
    """Read explanations from the bytes of their file, in the present spelling or an older one.

    Args:
        content: the file's bytes.
        source: the file or address they came from, for error messages and for `NeuronSimulationResults.source`.

    Raises:
        MalformedRecordError: the bytes are not valid explanations. No other exception is raised, whatever the bytes
            are.
    """
    try:
        fields = decode_tolerantly(content, _DECODER)
        explanations = _either(
            fields.scored_explanations, fields.scored_explanation_or_baseline_list, "scored_explanations"
        )
        return NeuronSimulationResults(
            fields.neuron_id.checked(), [_explanation(each) for each in explanations], source
        )
    except RecursionError:
        raise MalformedRecordError("it is nested too deeply", source, _KIND) from None
    except ValueError as error:
        raise MalformedRecordError(getattr(error, "problem", str(error)), source, _KIND) from None


def _explanation(fields: _ExplanationFields) -> ScoredExplanation:
    return ScoredExplanation(
        explanation=_either(fields.explanation, fields.explanation_or_baseline, "explanation"),
        scores=fields.scored_simulation.checked(),
        sequences=[_sequence(each) for each in fields.scored_simulation.scored_sequence_simulations],
    )


def _sequence(fields: _SequenceFields) -> ScoredSequenceSimulation:
    simulation = _simulation(_either(fields.sequence_simulation, fields.simulation, "sequence_simulation"))
    if len(fields.true_activations) != len(simulation.tokens):
        raise MalformedRecordError(
            f"the numbers of tokens ({len(simulation.tokens)}) and true activations ({len(fields.true_activations)}) "
            "differ"
        )
    return ScoredSequenceSimulation(simulation, fields.true_activations, fields.checked())


def _simulation(fields: _SimulationFields) -> SequenceSimulation:
    if len(fields.expected_activations) != len(fields.tokens):
        raise MalformedRecordError(
            f"the numbers of tokens ({len(fields.tokens)}) and expected activations "
            f"({len(fields.expected_activations)}) differ"
        )
    inner = fields.uncalibrated_simulation
    return SequenceSimulation(
        tokens=fields.tokens,
        expected_activations=[finite_or_none(value) for value in fields.expected_activations],
        activation_scale=fields.activation_scale if fields.activation_scale is not None else fields.unit,
        distribution_values=fields.distribution_values or [],
        distribution_probabilities=fields.distribution_probabilities or [],
        uncalibrated_simulation=None if inner is None else _simulation(inner),
    )


def _either(present: T | None, old: T | None, name: str) -> T:
    """The value of a field under its present name or its old one."""
    value = present if present is not None else old
    if value is None:
        raise MalformedRecordError(f"it lacks {name!r}")
    return value
