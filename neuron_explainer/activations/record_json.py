"""Neuron records as JSON: every spelling that public datasets hold is read, the present one is written."""

import json
import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.errors import MalformedRecordError

_STRING_OR_CONSTANT = re.compile(rb'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', re.DOTALL)
_MAX_INDEX = 2**31 - 1


class _NeuronIdFields(msgspec.Struct):
    """A NeuronId as files spell it: older ones say `idx` and `layer`, and write the layer as a string."""

    neuron_index: int | str | UnsetType = UNSET
    layer_index: int | str | UnsetType = UNSET
    idx: int | str | UnsetType = UNSET
    layer: int | str | UnsetType = UNSET


class _RecordFields(msgspec.Struct):
    """A NeuronRecord as files spell it. Fields that are not listed here are skipped over."""

    neuron_id: _NeuronIdFields
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
        fields = _decode(content)
        if fields.dataclass_name != "NeuronRecord":
            raise MalformedRecordError(f"it is a {fields.dataclass_name[:80]!r}")
        return NeuronRecord(
            neuron_id=_neuron_id(fields.neuron_id),
            random_sample=fields.random_sample,
            random_sample_by_quantile=fields.random_sample_by_quantile,
            quantile_boundaries=fields.quantile_boundaries,
            mean=_known(fields.mean),
            variance=_known(fields.variance),
            skewness=_known(fields.skewness),
            kurtosis=_known(fields.kurtosis),
            most_positive_activation_records=fields.most_positive_activation_records,
            activation_frequency=_known(fields.activation_frequency),
            histogram=fields.histogram,
            source=source,
        )
    except MalformedRecordError as error:
        raise MalformedRecordError(error.problem, source) from None
    except RecursionError:
        raise MalformedRecordError("it is nested too deeply", source) from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise MalformedRecordError(_what_is_wrong(content, error), source) from None


def _decode(content: bytes) -> _RecordFields:
    try:
        return _DECODER.decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # JSON has no NaN, and some files hold one all the same. Only then is the slower parser, which takes it, needed.
        if not any(match.group()[:1] != b'"' for match in _STRING_OR_CONSTANT.finditer(content)):
            raise
        return msgspec.convert(json.loads(content), _RecordFields)


def _neuron_id(fields: _NeuronIdFields) -> NeuronId:
    return NeuronId(
        layer_index=_index("layer", fields.layer_index, fields.layer),
        neuron_index=_index("neuron", fields.neuron_index, fields.idx),
    )


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


def _known(statistic: float | None) -> float | None:
    """None for a statistic that is not finite: that is how a file says that it is not known."""
    return statistic if statistic is not None and abs(statistic) < float("inf") else None


def _what_is_wrong(content: bytes, error: Exception) -> str:
    start = content[:200].lstrip()
    if not start:
        return "it is empty"
    if start.startswith(b"<"):
        return f"it is HTML or XML, not JSON; it begins {start[:60].decode(errors='replace')!r}"
    problem = str(error)
    return problem if len(problem) <= 300 else problem[:300] + " …"


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
