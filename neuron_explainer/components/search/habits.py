"""A component's habit: the mean and the variance of its activations on texts, or in a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activation_server.dataset_paths import local_dataset_folder
from neuron_explainer.activations.dataset_types import check_is_dataset
from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.collation.corpus.texts import TextsGiven

LEAST_OTHER_TOKENS = 8
"""How many other tokens of a text make a habit, at least."""


@dataclass(frozen=True)
class MomentsByLayer:
    """Mean and variance of each component, by layer; (components, 2)."""

    by_layer: dict[int, NDArray[np.float64]]

    def of(self, layer: int, n_components: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The means and the variances of a layer.

        Raises:
            InvalidRequestError: there are none of this layer, or of other components.
        """
        if layer not in self.by_layer or len(self.by_layer[layer]) != n_components:
            raise InvalidRequestError(
                f"The dataset does not have the habits of the {n_components:,} components of layer {layer}. "
                "Choose layers= that it covers, or pass reference=."
            )
        return self.by_layer[layer][:, 0], self.by_layer[layer][:, 1]


def packed_dataset_of(dataset: str, dst: DerivedScalarType) -> PackedDataset:
    """The packed dataset of a name or folder.

    Raises:
        InvalidRequestError: it is at an address, or consists of JSON files.
        MalformedDatasetError: it is not a dataset.
    """
    folder = local_dataset_folder(dataset, dst)
    check_is_dataset(folder)
    if not is_packed_dataset(folder):
        raise InvalidRequestError(
            f"{dataset} is not a packed dataset, and search needs one. Convert it first: ne.convert({dataset!r}, …)."
        )
    return PackedDataset.open(folder)


def dataset_moments(dataset: str, dst: DerivedScalarType, layers: list[int] | None) -> tuple[MomentsByLayer, str]:
    """The habits that a dataset has, and what they are in words.

    Raises:
        InvalidRequestError: the dataset is not a packed one, or is of another scalar.
        MalformedDatasetError, NeuronNotFoundError: its files are invalid or missing.
    """
    packed = packed_dataset_of(dataset, dst)
    if packed.info.derived_scalar_type != dst.value:
        raise InvalidRequestError(
            f"{dataset} is of {packed.info.derived_scalar_type}, not of {dst.value}. Pass dst="
            f"{packed.info.derived_scalar_type!r}."
        )
    covered = [layer for layer in packed.info.layer_indices if layers is None or layer in layers]
    moments = {layer: np.array(packed.layer_reader(layer).arrays["moments"][:, :2]) for layer in covered}
    return MomentsByLayer(moments), f"the moments of the dataset {dataset}"


def moments_on(
    config: DstConfig,
    dst: DerivedScalarType,
    texts: TextsGiven,
    layers: list[int] | None,
    prepend_bos: bool | None,
    progress: bool | None,
) -> tuple[MomentsByLayer, str]:
    """The habits on reference texts, in one streaming pass, and what they are in words."""
    from neuron_explainer.collation.runs.local_run import run_locally
    from neuron_explainer.components.streaming import streaming_job

    collation, corpus = run_locally(streaming_job(config, dst, texts, layers, prepend_bos, progress))
    moments = {layer: state.moments.statistics()[:, :2].cpu().numpy() for layer, state in collation.layers.items()}
    return MomentsByLayer(moments), f"{corpus.n_tokens:,} tokens of the reference texts"


def least_others(n_tokens: int, n_wanted: int) -> str:
    """The other tokens of a text as a habit, in words.

    Raises:
        InvalidRequestError: they are too few.
    """
    n_others = n_tokens - n_wanted
    if n_others < LEAST_OTHER_TOKENS:
        raise InvalidRequestError(
            f"The text has {n_others} other tokens, and a habit takes at least {LEAST_OTHER_TOKENS}. Pass reference=, "
            "texts to compare with, or a dataset that has the moments."
        )
    return f"the {n_others} other tokens of the text"
