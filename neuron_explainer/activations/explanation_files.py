"""Explanations of neurons in words, scored by simulating the neuron from them.

A dataset of explanations is an http(s) address or a local folder with one file a neuron, `{layer}/{index}.jsonl`, of
one line.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from neuron_explainer.activations.activations import record_location
from neuron_explainer.activations.record_json import NeuronIdFields, finite_or_none
from neuron_explainer.activations.records import NeuronId
from neuron_explainer.errors import MalformedRecordError, MissingFileError, NeuronNotFoundError
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.storage.reading import read_decoded
from neuron_explainer.storage.tolerant_json import decode_tolerantly

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_KIND = "file of explanations"


@dataclass(frozen=True)
class SequenceSimulation:
    """What a simulator, told an explanation, expects the neuron to do on a text.

    Attributes:
        tokens: the text.
        expected_activations: one a token; None where the simulator gave none.
        activation_scale: what they are counted in: the neuron's own units, or the simulator's.
        distribution_values, distribution_probabilities: for each token the values that the simulator thought possible,
            and how probable it thought each.
        uncalibrated_simulation: as it was before it was fitted to the neuron's own units; None if it was not.
    """

    tokens: list[str]
    expected_activations: list[float | None]
    activation_scale: str | None = None
    distribution_values: list[list[float]] = field(default_factory=list)
    distribution_probabilities: list[list[float]] = field(default_factory=list)
    uncalibrated_simulation: "SequenceSimulation | None" = None


@dataclass(frozen=True)
class Scores:
    """How well a simulation fits what the neuron did; 1 is a perfect fit, None: it could not be computed.

    Attributes:
        ev_correlation_score: correlation of expected and true activations.
        rsquared_score: the share of the true activations' variance that is explained.
        absolute_dev_explained_score: the share of their mean absolute deviation that is explained.
    """

    ev_correlation_score: float | None = None
    rsquared_score: float | None = None
    absolute_dev_explained_score: float | None = None


@dataclass(frozen=True)
class ScoredSequenceSimulation:
    """A simulation on one text beside the truth: `true_activations`, one a token."""

    sequence_simulation: SequenceSimulation
    true_activations: list[float]
    scores: Scores


@dataclass(frozen=True)
class ScoredExplanation:
    """An explanation, its scores over all texts, and the simulations they are from."""

    explanation: str
    scores: Scores
    sequences: list[ScoredSequenceSimulation]


@dataclass(frozen=True)
class NeuronSimulationResults:
    """The explanations that a neuron has."""

    neuron_id: NeuronId
    scored_explanations: list[ScoredExplanation]
    source: str | None = field(default=None, compare=False)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row an explanation: explanation, the three scores, and the number of texts it was scored on."""
        import pandas as pd

        scores = ["ev_correlation_score", "rsquared_score", "absolute_dev_explained_score"]
        rows = [
            {
                "explanation": each.explanation,
                **{name: getattr(each.scores, name) for name in scores},
                "n_sequences": len(each.sequences),
            }
            for each in self.scored_explanations
        ]
        return pd.DataFrame(rows, columns=["explanation", *scores, "n_sequences"])


def load_explanations(
    explanations_path: str | os.PathLike[str],
    layer_index: int | str,
    neuron_index: int | str,
    *,
    use_cache: bool = True,
) -> NeuronSimulationResults:
    """The explanations of one neuron.

    Args:
        explanations_path: an http(s) address or a local folder.
        layer_index: the layer, from 0.
        neuron_index: the neuron in it, from 0.
        use_cache: whether the disk cache is used for an address.

    Raises:
        NeuronNotFoundError: there are none of this neuron.
        MalformedRecordError: what is there are no explanations.
        DownloadError: the address could not be read.
        InvalidRequestError: an index is not a whole number from 0 on.
    """
    location = record_location(explanations_path, layer_index, neuron_index, "jsonl")
    try:
        decode = partial(explanations_from_json, source=without_secrets(location))
        return read_decoded(location, decode, use_cache=use_cache)
    except MissingFileError as error:
        raise NeuronNotFoundError(
            f"{without_secrets(explanations_path)} has no explanations of neuron {neuron_index} in layer {layer_index}: {error}."
        ) from None


class _SimulationFields(msgspec.Struct):
    """Every field by each name that it has had; what is of no use here is skipped over."""

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
        """The scores, those that are not finite as None."""
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
    """The explanations that a file holds, in the present spelling or an older one.

    Raises:
        MalformedRecordError: the bytes are no explanations; never another exception, whatever they are.
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
            f"{len(simulation.tokens)} tokens have {len(fields.true_activations)} true activations"
        )
    return ScoredSequenceSimulation(simulation, fields.true_activations, fields.checked())


def _simulation(fields: _SimulationFields) -> SequenceSimulation:
    if len(fields.expected_activations) != len(fields.tokens):
        raise MalformedRecordError(
            f"{len(fields.tokens)} tokens have {len(fields.expected_activations)} expected activations"
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
    """A field by its present name or its old one."""
    value = present if present is not None else old
    if value is None:
        raise MalformedRecordError(f"it lacks {name!r}")
    return value
