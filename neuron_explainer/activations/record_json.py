"""Neuron records as JSON: every spelling that public datasets hold is read, the present one is written."""

import math
import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.errors import MalformedRecordError
from neuron_explainer.storage.tolerant_json import decode_tolerantly

_MAX_INDEX = 2**31 - 1


class NeuronIdFields(msgspec.Struct):
    """A NeuronId as files spell it: older ones say `idx` and `layer`, and write the layer as a string."""

    neuron_index: int | str | UnsetType = UNSET
    layer_index: int | str | UnsetType = UNSET
    idx: int | str | UnsetType = UNSET
    layer: int | str | UnsetType = UNSET

    def checked(self) -> NeuronId:
        """The NeuronId that is meant.

        Raises:
            MalformedRecordError: a part is missing, no index, or given twice with different values.
        """
        return NeuronId(
            layer_index=_index("layer", self.layer_index, self.layer),
            neuron_index=_index("neuron", self.neuron_index, self.idx),
        )


class _RecordFields(msgspec.Struct):
    """A NeuronRecord as files spell it. Fields that are not listed here are skipped over."""

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


_DECODER = msgspec.json.Decoder(_RecordFields)


def record_from_json(content: bytes, source: str | None = None) -> NeuronRecord:
    """The record that a JSON file holds.

    Args:
        content: the file's bytes.
        source: the file or address they came from, for the error's message and for `NeuronRecord.source`.

    Raises:
        MalformedRecordError: the bytes are no record; never another exception, whatever they are.
    """
    try:
        fields = decode_tolerantly(content, _DECODER)
        if fields.dataclass_name != "NeuronRecord":
            raise MalformedRecordError(f"it is a {fields.dataclass_name[:80]!r}")
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
        )
    except ValueError as error:
        raise MalformedRecordError(getattr(error, "problem", str(error)), source) from None


def _index(kind: str, value: int | str | UnsetType, old_spelling: int | str | UnsetType) -> int:
    given = {_whole_number(kind, index) for index in (value, old_spelling) if index is not UNSET}
    if len(given) != 1:
        raise MalformedRecordError(
            f"its neuron_id names no {kind}" if not given else f"its neuron_id names two {kind}s: {sorted(given)}"
        )
    return given.pop()


def _whole_number(kind: str, index: int | str | UnsetType) -> int:
    digits = str(index) if not isinstance(index, int) or abs(index) <= _MAX_INDEX else ""
    if not re.fullmatch(r"[0-9]{1,10}", digits) or int(digits) > _MAX_INDEX:
        raise MalformedRecordError(f"its neuron_id's {kind} is {str(index)[:40]!r}, no index")
    return int(digits)


def finite_or_none(statistic: float | None) -> float | None:
    """None for a statistic that is not finite: that is how a file says that it is not known."""
    return statistic if statistic is not None and math.isfinite(statistic) else None


def record_to_dict(record: NeuronRecord) -> dict[str, Any]:
    """The record as its JSON file holds it, in the public datasets' spelling.

    What the public datasets do not have (`activation_frequency`, `histogram`) is there where the record has it.
    """
    by_quantile = record.random_sample_by_quantile
    fields: dict[str, Any] = {
        "neuron_id": {
            "neuron_index": record.neuron_id.neuron_index,
            "layer_index": record.neuron_id.layer_index,
            "dataclass_name": "NeuronId",
        },
        "random_sample": _examples(record.random_sample),
        "random_sample_by_quantile": None if by_quantile is None else [_examples(bucket) for bucket in by_quantile],
        "quantile_boundaries": record.quantile_boundaries,
        "mean": record.mean,
        "variance": record.variance,
        "skewness": record.skewness,
        "kurtosis": record.kurtosis,
        "most_positive_activation_records": _examples(record.most_positive_activation_records),
    }
    if record.activation_frequency is not None:
        fields["activation_frequency"] = record.activation_frequency
    if record.histogram is not None:
        fields["histogram"] = {"edges": record.histogram.edges, "counts": record.histogram.counts}
    return fields | {"dataclass_name": "NeuronRecord"}


def _examples(examples: list[ActivationRecord]) -> list[dict[str, Any]]:
    return [
        {"activations": example.activations, "tokens": example.tokens, "dataclass_name": "ActivationRecord"}
        for example in examples
    ]


def record_to_json(record: NeuronRecord) -> bytes:
    """The bytes of the record's JSON file; `record_from_json` reads the same record back."""
    return msgspec.json.encode(record_to_dict(record))
