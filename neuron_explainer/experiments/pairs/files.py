"""Pairs of prompts in tables and in files of JSON lines. What comes from outside is bounded and checked."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Iterable
from typing import Any

import msgspec

from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, shown
from neuron_explainer.experiments.pairs.pair import MOST_PAIRS, PromptPair
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import local_path
from neuron_explainer.storage.tolerant_json import decode_tolerantly

COLUMNS = ("clean", "corrupted", "target", "distractor")
_MOST_BYTES = 64 * 10**6
_KIND = "file of prompt pairs"


class _Line(msgspec.Struct):
    clean: str
    corrupted: str
    target: str | list[str]
    distractor: str | list[str]


_DECODER = msgspec.json.Decoder(_Line)


def write_pairs(pairs: Iterable[PromptPair], path: str | os.PathLike[str]) -> None:
    """See `PromptPairs.to_jsonl`."""
    lines = ({column: getattr(pair, column) for column in COLUMNS} for pair in pairs)
    write_bytes_atomically(local_path("path", path), b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def read_pairs(path: str | os.PathLike[str]) -> list[PromptPair]:
    """See `PromptPairs.from_jsonl`."""
    source = local_path("path", path)
    content = read_local_bytes(source, _MOST_BYTES).removeprefix(BOM_UTF8)
    pairs: list[PromptPair] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        if len(pairs) == MOST_PAIRS:
            raise MalformedRecordError(f"it has more than {MOST_PAIRS:,} pairs", str(source), _KIND)
        try:
            read = decode_tolerantly(line, _DECODER)
            pairs.append(PromptPair(read.clean, read.corrupted, _given(read.target), _given(read.distractor)))
        except ValueError as error:  # InvalidRequestError is one
            raise MalformedRecordError(f"line {number}: {error}", str(source), _KIND) from None
    if not pairs:
        raise MalformedRecordError("it has no pairs", str(source), _KIND)
    return pairs


def _given(answer: str | list[str]) -> Any:
    return answer if isinstance(answer, str) else tuple(answer)


def pairs_of_frame(frame: Any) -> list[PromptPair]:
    """See `PromptPairs.from_dataframe`."""
    columns = getattr(frame, "columns", None)
    if columns is None or not hasattr(frame, "itertuples"):
        raise InvalidRequestError(f"frame is {shown(frame)}. Give a pandas DataFrame.")
    found = list(columns)
    missing = [column for column in COLUMNS if found.count(column) != 1]
    if missing:
        raise InvalidRequestError(
            f"The table needs each of the columns {', '.join(COLUMNS)} once, which is not so for {', '.join(missing)}. "
            f"It has: {shown(found)}."
        )
    if len(frame) > MOST_PAIRS:
        raise InvalidRequestError(f"The table has {len(frame):,} rows. Give at most {MOST_PAIRS:,}.")
    pairs = []
    for number, row in enumerate(frame[list(COLUMNS)].itertuples(index=False, name=None)):
        try:
            pairs.append(PromptPair(*row))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"Row {number}: {error}") from None
    return pairs
