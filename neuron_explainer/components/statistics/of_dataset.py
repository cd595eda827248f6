"""`ne.dataset_statistics`: a row of statistics for each component of a dataset."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activation_server.dataset_paths import local_dataset_folder, type_of_dataset
from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.dataset_types import check_is_dataset, numbered_entries
from neuron_explainer.activations.derived_scalars.names.kinds import kind_of_node_type
from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.statistics.dead_and_dense import (
    DENSE_ABOVE,
    checked_share,
    is_dead,
    is_dense,
    is_of_latents,
)
from neuron_explainer.components.statistics.examples import values_by_token
from neuron_explainer.components.statistics.packed_layers import columns_of_layer
from neuron_explainer.notices import is_interactive
from neuron_explainer.vocabulary.checks import LayersGiven, check_covered, checked_layers
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    import pandas

COLUMNS = [
    "max",
    "mean",
    "variance",
    "standard_deviation",
    "skewness",
    "kurtosis",
    "frequency",
    "is_dead",
    "is_dense",
    "top_token",
    "n_top",
]


def dataset_statistics(
    dataset: str | os.PathLike[str],
    dst: DerivedScalarType | str | None = None,
    layers: LayersGiven = None,
    *,
    dense_above: SupportsFloat = DENSE_ABOVE,
    progress: bool | None = None,
) -> pandas.DataFrame:
    """The statistics of every neuron, head or latent of a local dataset, one row each.

    Args:
        dataset: a registered short name, or a local folder.
        dst: the derived scalar type; it selects among the datasets of one short name.
        layers: the layers; None: all that the dataset covers.
        dense_above: the share of tokens above which a latent is called dense.
        progress: whether there is a bar; None: on a terminal or in a notebook.

    Returns:
        The columns are name, layer, component; max (of the top examples), mean, variance, standard_deviation, skewness,
        kurtosis, frequency (the share of tokens above 0) as the dataset has them, NaN if unknown; is_dead and is_dense
        (missing for components that are not latents); top_token (at the peak of the first top example), n_top.

    Raises:
        UnknownDatasetError: no dataset has this name.
        InvalidRequestError: the dataset is at an address, or does not cover a layer; or `dense_above` is not a share.
        MalformedDatasetError, MalformedRecordError: a file is invalid, or the folder is not a dataset.

    >>> import neuron_explainer as ne
    >>> table = ne.dataset_statistics("tiny", progress=False)
    >>> len(table), table.columns[:4].tolist()
    (2048, ['name', 'layer', 'component', 'max'])
    """
    import pandas

    scalar_type = type_of_dataset(dataset, dst)
    folder = local_dataset_folder(dataset, scalar_type)
    share = checked_share("dense_above", dense_above)
    asked = None if layers is None else list(checked_layers("layers", layers))
    check_is_dataset(folder)
    if is_packed_dataset(folder):
        frames = _of_packed(folder, asked, share, progress)
    else:
        frames = _of_json(folder, scalar_type, asked, share, progress)
    tables = list(frames)
    if not tables:
        return TokenTable(columns=["name", "layer", "component", *COLUMNS])
    table = TokenTable(pandas.concat(tables, ignore_index=True))
    table.attrs = {"dataset": os.fspath(dataset), "derived_scalar_type": scalar_type.value}
    return table


def _of_packed(
    folder: Path, asked: list[int] | None, dense_above: float, progress: bool | None
) -> Iterator[pandas.DataFrame]:
    packed = open_packed_dataset(folder)
    covered = sorted(packed.info.layer_indices)
    for layer in covered if asked is None else asked:
        check_covered("layer", layer, covered, str(folder))
    for layer in _with_bar(sorted(covered if asked is None else asked), "layer", progress):
        reader = packed.layer_reader(layer)
        columns = columns_of_layer(reader)
        frequency = columns["frequency"]
        known = ~np.isnan(frequency) if is_of_latents(reader.dst) else np.zeros(len(frequency), dtype=bool)
        columns["is_dead"] = _flags(frequency == 0, known)
        columns["is_dense"] = _flags(frequency > dense_above, known)
        yield _frame(reader.dst, layer, np.arange(len(frequency)), columns)


def _of_json(
    folder: Path, dst: DerivedScalarType, asked: list[int] | None, dense_above: float, progress: bool | None
) -> Iterator[pandas.DataFrame]:
    covered = sorted(numbered_entries(folder, ""))
    for layer in covered if asked is None else asked:
        check_covered("layer", layer, covered, str(folder))
    for layer in sorted(covered if asked is None else asked):
        numbers = sorted(numbered_entries(folder / str(layer), ".json"))
        rows = []
        for number in _with_bar(numbers, "neuron", progress):
            record = load_neuron(folder, layer, number)
            rows.append(_row(record, dst, dense_above))
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
        yield _frame(dst, layer, np.array(numbers, dtype=np.int64), columns)


def _row(record: NeuronRecord, dst: DerivedScalarType, dense_above: float) -> dict[str, Any]:
    from dataclasses import replace

    record = record if record.dst is not None else replace(record, dst=dst)
    variance, top = record.variance, record.most_positive_activation_records
    numbers = {
        "max": record.max_activation,
        "mean": record.mean,
        "variance": variance,
        "standard_deviation": None if variance is None or variance < 0 else math.sqrt(variance),
        "skewness": record.skewness,
        "kurtosis": record.kurtosis,
        "frequency": record.activation_frequency,
    }
    has_tokens = bool(top) and bool(top[0].tokens)
    return {
        **{name: math.nan if value is None else value for name, value in numbers.items()},
        "is_dead": is_dead(record),
        "is_dense": is_dense(record, dense_above),
        "top_token": top[0].tokens[int(np.argmax(values_by_token(top[0])))] if has_tokens else None,
        "n_top": len(top),
    }


def _frame(
    dst: DerivedScalarType | None, layer: int, numbers: NDArray[np.int64], columns: dict[str, Any]
) -> pandas.DataFrame:
    kind = None if dst is None else kind_of_node_type(dst.node_type)
    symbol = "N" if kind is None else kind.symbol
    return TokenTable(
        {
            "name": [f"L{layer}{symbol}{number}" for number in numbers.tolist()],
            "layer": layer,
            "component": numbers,
            **{name: columns[name] for name in COLUMNS},
        }
    )


def _flags(values: NDArray[np.bool_], known: NDArray[np.bool_]) -> list[bool | None]:
    return [bool(value) if is_known else None for value, is_known in zip(values, known, strict=True)]


def _with_bar(numbers: list[int], unit: str, progress: bool | None) -> Iterator[int]:
    if not (is_interactive() if progress is None else progress):
        yield from numbers
        return
    from tqdm.auto import tqdm

    yield from tqdm(numbers, desc="statistics", unit=unit, leave=False)
