"""Neuron records as JSON: reads every spelling that the public datasets use, and writes the present one."""

import difflib
import math
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from neuron_explainer.activations.neuron_ids import checked_index
from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.errors import MalformedRecordError, shown
from neuron_explainer.notices import UnexpectedContentWarning, warn
from neuron_explainer.storage.tolerant_json import decode_tolerantly, keys_of
from neuron_explainer.vocabulary.parsing import type_named


class NeuronIdFields(msgspec.Struct):
    """A NeuronId as files spell it. Older files call the fields `idx` and `layer`, and write the layer as a string."""

    neuron_index: int | str | UnsetType = UNSET
    layer_index: int | str | UnsetType = UNSET
    idx: int | str | UnsetType = UNSET
    layer: int | str | UnsetType = UNSET

    def checked(self) -> NeuronId:
        """The NeuronId, whichever way the file spells it.

        Raises:
            MalformedRecordError: an index is missing, negative or not a whole number, or is given twice with different
                values.
        """
        return NeuronId(
            layer_index=_either_spelling("layer", self.layer_index, self.layer),
            neuron_index=_either_spelling("neuron", self.neuron_index, self.idx),
        )


class _RecordFields(msgspec.Struct):
    """A NeuronRecord as files spell it. Other fields are skipped. The public files do not say their type."""

    neuron_id: NeuronIdFields
    dataclass_name: str = "NeuronRecord"
    random_sample: list[ActivationRecord] = []
    random_sample_by_quantile: list[list[ActivationRecord]] | None = None
    quantile_boundaries: list[float] | None = None
    mean: float | None = None
    variance: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    most_positive_activation_records: list[ActivationRecord] = []
    activation_frequency: float | None = None
    histogram: Histogram | None = None
    derived_scalar_type: Any = None
    dst: Any = None


_DECODER = msgspec.json.Decoder(_RecordFields)
_MOST_UNKNOWN = 20
_LONGEST_NAME = 100


def record_from_json(content: bytes, source: str | None = None) -> NeuronRecord:
    """Read a record from the bytes of its JSON file.

    Args:
        content: the file's bytes.
        source: the file or address they came from, for error messages and for `NeuronRecord.source`.

    Raises:
        MalformedRecordError: the bytes are not a valid record. No other exception is raised, whatever the bytes are.

    Warns:
        UnexpectedContentWarning: a field is unknown and its name is like that of a field that the file lacks.
    """
    try:
        fields = decode_tolerantly(content, _DECODER)
        _warn_of_misspelt(content, source)
        if fields.dataclass_name != "NeuronRecord":
            raise MalformedRecordError(f"its dataclass_name is {fields.dataclass_name[:80]!r}, not 'NeuronRecord'")
        return NeuronRecord(
            neuron_id=fields.neuron_id.checked(),
            random_sample=fields.random_sample,
            random_sample_by_quantile=fields.random_sample_by_quantile,
            quantile_boundaries=fields.quantile_boundaries,
            mean=finite_or_none(fields.mean),
            variance=finite_or_none(fields.variance),
            skewness=finite_or_none(fields.skewness),
            kurtosis=finite_or_none(fields.kurtosis),
            most_positive_activation_records=fields.most_positive_activation_records,
            activation_frequency=finite_or_none(fields.activation_frequency),
            histogram=fields.histogram,
            source=source,
            dst=type_named(fields.derived_scalar_type) or type_named(fields.dst),
        )
    except ValueError as error:
        raise MalformedRecordError(getattr(error, "problem", str(error)), source) from None


def _warn_of_misspelt(content: bytes, source: str | None) -> None:
    """Warn of unknown fields that stand where a known one is missing."""
    found = dict.fromkeys(keys_of(content))
    known = _RecordFields.__struct_fields__
    missing = [name for name in known if name not in found]
    unknown = [name for name in found if name not in known and len(name) <= _LONGEST_NAME]
    for name in unknown[:_MOST_UNKNOWN]:
        nearest = difflib.get_close_matches(name, missing, n=1, cutoff=0.8)
        if nearest:
            warn(
                f"{source or 'A neuron record'} has the unknown field {shown(name)}, which is left out. "
                f"Did you mean: {nearest[0]}?",
                UnexpectedContentWarning,
            )


def warn_of_another(found: NeuronId, asked: NeuronId, source: str) -> None:
    """Warn if a file is of another component than its place says."""
    if found != asked:
        warn(
            f"{source} says that it is of neuron {found.neuron_index} in layer {found.layer_index}; asked for was "
            f"neuron {asked.neuron_index} in layer {asked.layer_index}. Check where the file comes from.",
            UnexpectedContentWarning,
        )


def _either_spelling(kind: str, value: int | str | UnsetType, old_spelling: int | str | UnsetType) -> int:
    given = {
        checked_index(f"its neuron_id's {kind}", index, MalformedRecordError, digits=True)
        for index in (value, old_spelling)
        if index is not UNSET
    }
    if len(given) != 1:
        raise MalformedRecordError(
            f"its neuron_id lacks the {kind}" if not given else f"its neuron_id names two {kind}s: {sorted(given)}"
        )
    return given.pop()


def finite_or_none(statistic: float | None) -> float | None:
    """The statistic; None if it is not finite, which is how files write an unknown one."""
    return statistic if statistic is not None and math.isfinite(statistic) else None


def record_to_json(record: NeuronRecord) -> bytes:
    """The bytes of the record's JSON file. `record_from_json` reads an equal record from them."""
    return msgspec.json.encode(record.to_dict())
