"""Neuronpedia's rows of explanations: batches of a bulk export written and read, and the fields of an upload."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pandas

from neuron_explainer.activations.neuron_ids import MAX_INDEX, NeuronId
from neuron_explainer.activations.scored_explanations import NeuronSimulationResults, ScoredExplanation, Scores
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.errors import InvalidRequestError, MalformedRecordError, MissingFileError, shown
from neuron_explainer.explanations.many.openai_files import checked_results
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.local import is_local_folder, opened_file
from neuron_explainer.storage.locations import local_path
from neuron_explainer.storage.tolerant_json import decode_tolerantly
from neuron_explainer.vocabulary.checks import checked_text, checked_type, whole_number
from neuron_explainer.wording import as_valid_text, counted, without_steering

OF_BATCH = 1024
"""How many components a batch has."""
LONGEST_TEXT = 512
"""How many characters an explanation has at most that is uploaded."""

_KIND = "file of Neuronpedia's explanations"
_MOST_LINE, _MOST_BYTES, _MOST_ROWS = 4 * 2**20, 4 * 2**30, 10_000_000
_BATCH = re.compile(r"batch-([0-9]{1,9})\.jsonl(\.gz)?")
_LAYER = re.compile(r"([0-9]{1,9})-")
_COLUMNS = ["model", "source", "layer", "index", "explanation", "explainer", "method", "score", "scorer"]


class _Score(msgspec.Struct):
    value: float | None = None
    explanationScoreTypeName: str | None = None


class _Row(msgspec.Struct):
    """A row as the files spell it; other fields, such as embeddings, are skipped."""

    modelId: str
    layer: str
    index: str | int
    description: str
    typeName: str | None = None
    explanationModelName: str | None = None
    scores: list[_Score] | None = None


_DECODER = msgspec.json.Decoder(_Row)


def save_neuronpedia_explanations(
    results: Iterable[NeuronSimulationResults],
    folder: str | os.PathLike[str],
    *,
    model: str,
    source: str,
    method: str,
    explainer: str = "",
) -> list[Path]:
    """Write explanations as a bulk export of Neuronpedia has them: `explanations/batch-N.jsonl.gz`, a row for each.

    Args:
        results: the explanations, a component after the other.
        folder: the source's folder; its folder `explanations` is made if it is missing.
        model: Neuronpedia's id of the model, such as "gpt2-small".
        source: its id of the source, such as "5-res-jb"; "{layer}" in it is the component's layer.
        method: its name of the way of explaining (typeName), such as "np_max-act".
        explainer: the language model that wrote them (explanationModelName); empty if none did.

    Returns:
        The files. Each has up to 1,024 components; files of later numbers, of an earlier call, are left as they are.

    Raises:
        InvalidRequestError: `results` is something else, a name is empty, or components of several layers are given and
            `source` says no layer.
        UnsupportedLocationError: `folder` is not a local path.
    """
    several = _several(results)
    for name, text in (("model", model), ("source", source), ("method", method)):
        if not checked_text(name, text).strip():
            raise InvalidRequestError(f"{name} is empty. Give Neuronpedia's own name, such as 'gpt2-small'.")
    layers = sorted({each.neuron_id.layer_index for each in several})
    if len(layers) > 1 and "{layer}" not in source:
        raise InvalidRequestError(
            f"source is {shown(source)}, and the explanations are of layers {layers}. Write {{layer}} where the layer "
            "is: '{layer}-res-jb'."
        )
    said = {"typeName": method, "explanationModelName": checked_text("explainer", explainer)}
    target, paths = local_path("folder", folder) / "explanations", []
    for number, start in enumerate(range(0, len(several), OF_BATCH)):
        lines = [
            json.dumps(row, ensure_ascii=False).encode() + b"\n"
            for each in several[start : start + OF_BATCH]
            for row in _rows(each, model, source, said)
        ]
        paths.append(target / f"batch-{number}.jsonl.gz")
        write_bytes_atomically(paths[-1], gzip.compress(b"".join(lines), mtime=0))
    return paths


def _rows(results: NeuronSimulationResults, model: str, source: str, said: Mapping[str, str]) -> Iterator[Any]:
    identity = results.neuron_id
    for each in results.scored_explanations:
        of_source = source.replace("{layer}", str(identity.layer_index))
        row = {"modelId": model, "layer": of_source, "index": str(identity.neuron_index)}
        yield {**row, "description": as_valid_text(each.explanation), **said}


def neuronpedia_upload_fields(
    results: NeuronSimulationResults, *, method: str, explainer: str = ""
) -> list[dict[str, str]]:
    """The field `explanations` of a component in the body of Neuronpedia's `upload-batch`.

    Args:
        results: the component's explanations.
        method: Neuronpedia's name of the way of explaining (methodName).
        explainer: the language model that wrote them (modelName); empty if none did.

    Raises:
        InvalidRequestError: an explanation has more than 512 characters, which Neuronpedia refuses.

    >>> said = NeuronSimulationResults(NeuronId(5, 1), [ScoredExplanation("names", Scores(), [])])
    >>> neuronpedia_upload_fields(said, method="np_max-act")
    [{'text': 'names', 'methodName': 'np_max-act', 'modelName': ''}]
    """
    checked_results("results", results)
    names = {"methodName": checked_text("method", method), "modelName": checked_text("explainer", explainer)}
    texts = [as_valid_text(each.explanation) for each in results.scored_explanations]
    for text in texts:
        if len(text) > LONGEST_TEXT:
            raise InvalidRequestError(
                f"An explanation of {results.neuron_id} has {counted(len(text), 'character')}: {shown(text)}. "
                f"Neuronpedia takes at most {LONGEST_TEXT}."
            )
    return [{"text": text, **names} for text in texts]


def load_neuronpedia_explanations(path: str | os.PathLike[str]) -> pandas.DataFrame:
    """Neuronpedia's rows of explanations as a table.

    Args:
        path: a file of rows, `.jsonl` or `.jsonl.gz`; or a folder of files `batch-N`, or one that has such a folder
            `explanations`.

    Returns:
        A row for each: model, source, layer (the number that the source begins with, or none), index, explanation,
        explainer, method, and the first score with its kind (score, scorer), where there is one. Control and direction
        characters become escapes.

    Raises:
        MissingFileError: there is no such file, or no batch in the folder.
        MalformedRecordError: a line is not such a row, or the file is damaged or too large.
        UnsupportedLocationError: `path` is not a local path.
    """
    rows = []
    for number, row in enumerate(row for file in _files(local_path("path", path)) for row in _rows_of(file)):
        if number >= _MOST_ROWS:
            raise MalformedRecordError(f"it has more than {_MOST_ROWS:,} rows", str(path), _KIND)
        layer, score = _LAYER.match(row.layer), next(iter(row.scores or []), _Score())
        rows.append(
            (
                without_steering(row.modelId),
                without_steering(row.layer),
                None if layer is None else int(layer[1]),
                int(row.index),
                without_steering(row.description),
                without_steering(row.explanationModelName or ""),
                without_steering(row.typeName or ""),
                score.value,
                without_steering(score.explanationScoreTypeName or ""),
            )
        )
    return TokenTable(rows, columns=_COLUMNS).astype({"layer": "Int64", "index": "int64", "score": "float64"})


def results_of_neuronpedia(table: pandas.DataFrame) -> list[NeuronSimulationResults]:
    """The rows of `load_neuronpedia_explanations` by component, such as `save_explanations` writes.

    The scores stay out: they are of other kinds than those of simulations. Rows whose source names no layer do, too.

    Args:
        table: the rows.

    Raises:
        InvalidRequestError: the table has no columns layer, index and explanation, or they hold something else than
            numbers and texts.
    """
    missing = {"layer", "index", "explanation"} - set(checked_type("table", table, pandas.DataFrame).columns)
    if missing:
        raise InvalidRequestError(
            f"The table has no columns {sorted(missing)}. load_neuronpedia_explanations gives it."
        )
    known = table[table["layer"].notna()]
    texts: dict[tuple[int, int], list[str]] = {}
    for layer, index, text in zip(known["layer"], known["index"], known["explanation"], strict=True):
        place = whole_number(layer), whole_number(index)
        if place[0] is None or place[1] is None or not isinstance(text, str):
            raise InvalidRequestError(
                f"The table has a row with layer {shown(layer)}, index {shown(index)} and explanation {shown(text)}. "
                "Give whole numbers and texts, as load_neuronpedia_explanations does."
            )
        texts.setdefault((place[0], place[1]), []).append(text)
    return [
        NeuronSimulationResults(NeuronId(*place), [ScoredExplanation(text, Scores(), []) for text in texts[place]])
        for place in sorted(texts)
    ]


def _several(results: Any) -> list[NeuronSimulationResults]:
    if isinstance(results, NeuronSimulationResults) or not isinstance(results, Iterable):
        raise InvalidRequestError(f"results is {shown(results)}. Give a list of NeuronSimulationResults.")
    return [checked_results("each of results", each) for each in results]


def _files(path: Path) -> list[Path]:
    if not is_local_folder(path):
        return [path]
    for folder in (path, path / "explanations"):
        names = {name: _BATCH.fullmatch(name) for name in (os.listdir(folder) if is_local_folder(folder) else ())}
        batches = sorted((int(found[1]), name) for name, found in names.items() if found is not None)
        if batches:
            return [folder / name for _, name in batches]
    raise MissingFileError(str(path / "batch-0.jsonl.gz"))


def _rows_of(path: Path) -> Iterator[_Row]:
    """The rows of a file, within bounds of a line's and of the file's size when it is unpacked."""
    number, n_bytes = 0, 0
    with opened_file(path) as file:
        content: Any = gzip.GzipFile(fileobj=file) if path.name.endswith(".gz") else file
        try:
            while line := content.readline(_MOST_LINE + 1):
                number, n_bytes = number + 1, n_bytes + len(line)
                if len(line) > _MOST_LINE or n_bytes > _MOST_BYTES:
                    raise ValueError("it is too large")
                if line.strip():
                    yield _checked(decode_tolerantly(line, _DECODER))
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MalformedRecordError(f"line {number}: {error}", str(path), _KIND) from None


def _checked(row: _Row) -> _Row:
    index = str(row.index)
    if not (index.isascii() and index.isdigit() and len(index) < 20 and int(index) <= MAX_INDEX):
        raise ValueError(f"index is {shown(row.index)}, which is not a component's number")
    return row
