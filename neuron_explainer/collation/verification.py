"""Does a dataset say what the model does? Some of its records are computed again."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset
from neuron_explainer.activations.packed.layout import layer_file_name
from neuron_explainer.collation.runs.job import model_of
from neuron_explainer.collation.runs.scalar_source import ScalarSource
from neuron_explainer.errors import InvalidRequestError, MissingFileError
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Verification:
    """How far a dataset's activations are from the model's.

    Attributes:
        n_records, n_examples, n_activations: how much was computed again.
        largest_difference: the largest absolute difference between an activation on file and the model's.
        largest_activation: the largest absolute activation among those compared, to measure the difference by.
        where: layer, component and kind of example of the largest difference.
    """

    n_records: int
    n_examples: int
    n_activations: int
    largest_difference: float
    largest_activation: float
    where: tuple[int, int, str] | None

    def __str__(self) -> str:
        told = (
            f"{self.n_records} records, {self.n_examples} examples, {self.n_activations} activations computed again: "
            f"largest difference {self.largest_difference:.3g}, largest activation {self.largest_activation:.3g}"
        )
        if self.where is None:
            return told
        layer, component, kind = self.where
        return f"{told} (the difference is in a {kind} example of {layer}:{component})"


@dataclass(frozen=True)
class _Example:
    layer: int
    component: int
    kind: str
    sequence: int
    start: int
    activations: NDArray[Any]


def verify(
    path: str | os.PathLike[str],
    n: int = 20,
    *,
    model: Any = None,
    config: DstConfig | None = None,
    loss: Any = None,
    seed: int = 0,
) -> Verification:
    """Compute some records of a packed dataset again, and tell the largest difference.

    The sequences that the examples are from are in the dataset; the model is run over them.

    Args:
        path: the dataset's folder.
        n: how many records, drawn at random from all.
        model: a ModelContext, or whatever `load_model` takes; None: the model that the dataset names, in the
            floating-point type that it was made with.
        config, loss: as they were given to `collate`.
        seed: of the draw.

    Raises:
        MissingFileError: there is no packed dataset.
        InvalidRequestError: the model's tokenizer is not the dataset's.
    """
    if not is_packed_dataset(path):
        raise MissingFileError(
            os.fspath(path), "there is no packed dataset in this folder (the JSON layout keeps no whole sequences)"
        )
    info = PackedDataset.open(path).info
    made_with = info.provenance.get("model") or {}
    model_context = model_of(model) if model is not None else model_of(info.model, dtype=made_with.get("dtype"))
    if info.tokenizer_hash is not None and model_context.tokenizer.fingerprint != info.tokenizer_hash:
        raise InvalidRequestError(
            f"{model_context.model_name}'s tokenizer is not the one that {os.fspath(path)} was made with: its tokens "
            "would mean something else."
        )
    everyone = len(info.layer_indices) * info.n_components
    drawn = sorted(random.Random(seed).sample(range(everyone), min(n, everyone)))
    by_layer: dict[int, list[int]] = {}
    for number in drawn:
        by_layer.setdefault(info.layer_indices[number // info.n_components], []).append(number % info.n_components)
    dst = derived_scalar_type_of(info.derived_scalar_type)
    largest, largest_activation, where = 0.0, 0.0, None
    n_examples = n_activations = 0
    for layer, components in by_layer.items():
        source = ScalarSource(model_context, dst, [layer], config, loss)
        with safe_open(Path(path) / layer_file_name(layer), framework="numpy") as file:
            examples = [example for component in components for example in _examples_of(file, layer, component, info)]
            numbers = sorted({example.sequence for example in examples})
            activations = dict(_recomputed(file, numbers, components, source, layer, info.n_components))
        for example in examples:
            column = components.index(example.component)
            expected = activations[example.sequence][example.start :, column][: len(example.activations)]
            difference = float(np.abs(example.activations.astype(np.float64) - expected).max())
            n_examples += 1
            n_activations += len(example.activations)
            largest_activation = max(largest_activation, float(np.abs(expected).max()))
            if difference > largest or where is None:
                largest, where = difference, (layer, example.component, example.kind)
    return Verification(len(drawn), n_examples, n_activations, largest, largest_activation, where)


def _examples_of(file: Any, layer: int, component: int, info: Any) -> Iterator[_Example]:
    names = set(file.keys())
    for kind in ("top", "random", "quantile"):
        if f"{kind}_sequence" not in names:
            continue
        sequence, start, length, activations = (
            file.get_slice(f"{kind}_{part}")[component : component + 1][0]
            for part in ("sequence", "start", "length", "activations")
        )
        width = activations.shape[-1]
        for row, first, n_tokens, values in zip(
            sequence.ravel(), start.ravel(), length.ravel(), activations.reshape(-1, width), strict=True
        ):
            if row >= 0:
                kept = values[: info.n_activations(int(n_tokens))]
                yield _Example(layer, component, kind, int(row), int(first), kept)


def _recomputed(
    file: Any, numbers: list[int], components: list[int], source: Any, layer: int, n_components: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """For each sequence its activations, (entries, components)."""
    sequences, lengths = file.get_slice("sequences"), file.get_slice("sequence_lengths")[:]
    step = max(1, _BATCH_TOKENS // int(lengths.max(initial=1)))
    for begin in range(0, len(numbers), step):
        part = numbers[begin : begin + step]
        width = int(lengths[part].max())
        tokens = np.stack([sequences[row : row + 1][0][:width] for row in part]).astype(np.int64)
        real = torch.arange(width) < torch.from_numpy(lengths[part].astype(np.int64))[:, None]
        values = source(torch.from_numpy(tokens), real)[layer]
        if values.shape[2] != n_components:
            raise InvalidRequestError(
                f"The model has {values.shape[2]} components in layer {layer}, and the dataset {n_components}: it is "
                "of another model."
            )
        yield from zip(part, values[:, :, components].double().cpu().numpy(), strict=True)
