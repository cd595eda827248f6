"""Check a dataset against its model: some of the records are computed again."""

import math
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_explainer.activation_server.dataset_paths import local_dataset_folder
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset
from neuron_explainer.activations.packed.layer_file import PackedLayerFile, PackedLayerReader
from neuron_explainer.activations.packed.layout import DatasetInfo, layer_file_name
from neuron_explainer.collation.runs.preparation import ModelGiven, model_of, refuse_interventions
from neuron_explainer.collation.runs.scalar_source import ScalarSource
from neuron_explainer.collation.settings import DEFAULT_VERIFIED_RECORDS, CollateSettings
from neuron_explainer.errors import InvalidRequestError, MissingFileError
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.notices import NonFiniteWarning, warn
from neuron_explainer.vocabulary.checks import checked_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of


@dataclass(frozen=True)
class Verification:
    """How far a dataset's activations are from the model's.

    Attributes:
        n_records, n_examples, n_activations: how many were computed again.
        largest_difference: the largest absolute difference between a stored activation and the model's; infinite
            where the model's is not a number.
        largest_activation: the largest absolute activation among the model's, as a scale for the difference.
        where: layer, component and kind of example of the largest difference.
    """

    n_records: int
    n_examples: int
    n_activations: int
    largest_difference: float
    largest_activation: float
    where: tuple[int, int, str] | None

    def __str__(self) -> str:
        counts = {"record": self.n_records, "example": self.n_examples, "activation": self.n_activations}
        counted = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items())
        summary = (
            f"{counted} computed again: "
            f"largest difference {self.largest_difference:.3g}, largest activation {self.largest_activation:.3g}"
        )
        if self.where is None:
            return summary
        return f"{summary} (the largest difference is in {_place(*self.where)})"


def _place(layer: int, component: int, kind: str) -> str:
    return f"a {kind} example of {layer}:{component}"


@dataclass(frozen=True)
class _Comparison:
    """One example's stored activations, compared with the model's."""

    where: tuple[int, int, str]
    token_ids: list[int]
    n_activations: int
    difference: float
    largest_activation: float
    is_finite: bool


def verify(
    path: str | os.PathLike[str],
    n: SupportsIndex = DEFAULT_VERIFIED_RECORDS,
    *,
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    model: ModelGiven | None = None,
    config: ConfigOrModel | None = None,
    loss: LossFnConfig | LossFunction | None = None,
    seed: SupportsIndex = 0,
) -> Verification:
    """Compute some records of a packed dataset again and compare.

    The dataset contains the token sequences of its examples; the model runs over these.

    Args:
        path: the dataset's folder or registered short name.
        n: how many records, drawn at random.
        dst: selects among the datasets of one short name; not needed for a folder.
        model: a ModelContext, or anything that `load_model` takes; None: the model that the dataset names, in the
            dtype that the dataset was made with.
        config, loss: as they were given to `collate`.
        seed: seed of the draw.

    Warns:
        NonFiniteWarning: some of the model's numbers are infinite or NaN, as where it overflows in float16; their
            difference counts as infinite. It names the place and the layer where such numbers appear first.

    Raises:
        UnknownDatasetError: `path` is neither a folder nor a registered name.
        MissingFileError: the folder has no packed dataset.
        MalformedDatasetError: the dataset is damaged.
        InvalidRequestError: `n` or `seed` is not a whole number or is too small, the dataset is at an address, an
            intervention on the model is active in this thread, or the model is not the dataset's: its tokenizer or its
            number of components differs.

    >>> verify("tiny", 2, dst="attn_write_norm").n_records
    2
    """
    n_records, drawn_with = checked_number("n", n), checked_number("seed", seed, 0)
    folder = local_dataset_folder(path, dst)
    if not is_packed_dataset(folder):
        raise MissingFileError(
            str(folder),
            "dataset.json not found; only packed datasets can be verified, as JSON files do not keep whole sequences",
        )
    dataset = PackedDataset.open(folder)
    info = dataset.info
    model_context = _model_of_dataset(folder, info, model)
    refuse_interventions(model_context)
    n_in_all = len(info.layer_indices) * info.n_components
    drawn = sorted(random.Random(drawn_with).sample(range(n_in_all), min(n_records, n_in_all)))
    by_layer: dict[int, list[int]] = {}
    for number in drawn:
        by_layer.setdefault(info.layer_indices[number // info.n_components], []).append(number % info.n_components)
    stored_dst = derived_scalar_type_of(info.derived_scalar_type)
    own_config = None if config is None else as_config(config)
    comparisons: list[_Comparison] = []
    not_finite: tuple[str, str] | None = None
    for layer, components in by_layer.items():
        stored = PackedLayerFile(folder / layer_file_name(layer), layer, info, dataset.token_strings)
        source = ScalarSource(model_context, stored_dst, [layer], own_config, loss)
        of_layer = list(_compared(stored, components, source))
        if not_finite is None and (found := next((each for each in of_layer if not each.is_finite), None)):
            not_finite = f"{stored_dst.value} ({_place(*found.where)})", source.where_non_finite(found.token_ids)
        comparisons += of_layer
    if not_finite is not None:
        scalar, where_first = not_finite
        warn(f"{scalar}: the model's numbers are infinite or NaN. {where_first}", NonFiniteWarning)
    worst = max(comparisons, key=lambda comparison: comparison.difference, default=None)
    return Verification(
        n_records=len(drawn),
        n_examples=len(comparisons),
        n_activations=sum(comparison.n_activations for comparison in comparisons),
        largest_difference=worst.difference if worst else 0.0,
        largest_activation=max((comparison.largest_activation for comparison in comparisons), default=0.0),
        where=worst.where if worst else None,
    )


def _model_of_dataset(folder: Path, info: DatasetInfo, model: ModelGiven | None) -> ModelContext:
    made_with = info.provenance.get("model") or {}
    model_context = model_of(model) if model is not None else model_of(info.model, dtype=made_with.get("dtype"))
    if info.tokenizer_hash is not None and model_context.tokenizer.fingerprint != info.tokenizer_hash:
        raise InvalidRequestError(
            f"{folder} was made with another tokenizer than {model_context.model_name}'s. Give model= the "
            f"dataset's model ({info.model})."
        )
    return model_context


def _compared(stored: PackedLayerReader, components: list[int], source: ScalarSource) -> Iterator[_Comparison]:
    """Every example of some of a layer's components, compared."""
    examples = [
        (column, kind, window)
        for column, component in enumerate(components)
        for kind, windows in stored.windows(component).items()
        for window in windows
    ]
    numbers = sorted({window.sequence for _, _, window in examples})
    computed = dict(_computed(stored, numbers, components, source))
    for column, kind, window in examples:
        n_activations = len(window.activations)
        expected = computed[window.sequence][window.start :, column][:n_activations]
        difference = float(np.abs(window.activations.astype(np.float64) - expected).max())
        yield _Comparison(
            where=(stored.layer, components[column], kind),
            token_ids=stored.sequences[window.sequence, : stored.sequence_lengths[window.sequence]].tolist(),
            n_activations=n_activations,
            difference=math.inf if math.isnan(difference) else difference,
            largest_activation=float(np.abs(expected).max()),
            is_finite=bool(np.isfinite(expected).all()),
        )


def _computed(
    stored: PackedLayerReader, numbers: list[int], components: list[int], source: ScalarSource
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The number of each sequence with its activations, (entries, components)."""
    sequences, lengths = stored.sequences, stored.sequence_lengths
    step = max(1, CollateSettings.batch_tokens // int(lengths.max(initial=1)))
    for begin in range(0, len(numbers), step):
        part = numbers[begin : begin + step]
        width = int(lengths[part].max())
        tokens = torch.from_numpy(sequences[part, :width].astype(np.int64))
        mask = torch.from_numpy(np.arange(width) < lengths[part][:, None])
        values = source(tokens, mask)[stored.layer]
        if values.shape[2] != stored.info.n_components:
            raise InvalidRequestError(
                f"Layer {stored.layer} of the model has {values.shape[2]} components, but the dataset has "
                f"{stored.info.n_components}. The dataset was made with another model or other autoencoders."
            )
        yield from zip(part, values[:, :, components].double().cpu().numpy(), strict=True)
