"""The registry of neuron datasets: which there are, by short name and derived scalar type.

The public ones are OpenAI's; they are read from their public addresses when a neuron is asked for. `tiny` is embedded
in this package and needs no network.
"""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from neuron_explainer.activation_server.public_datasets import PUBLIC_BASE, PUBLIC_DATASETS, PUBLIC_EXPLANATIONS
from neuron_explainer.errors import InvalidRequestError, MissingFileError, UnknownDatasetError
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    import pandas as pd

EMBEDDED_SHORT_NAME = "tiny"


@dataclass(frozen=True)
class NeuronDatasetMetadata:
    """One neuron dataset.

    Attributes:
        short_name: what notebooks call it; datasets of one model's different components may share it.
        derived_scalar_type: what its activations are of.
        user_visible_name: a line for people.
        neuron_dataset_path: an http(s) address or a local folder, with or without a slash at its end.
        n_layers: how many layers it has; None: `size()` asks the dataset itself.
        n_components: how many neurons, heads or latents a layer has; None: likewise.
        explanations_path: where explanations of its components are; None: nowhere that is known.
    """

    short_name: str
    derived_scalar_type: DerivedScalarType
    user_visible_name: str
    neuron_dataset_path: str
    n_layers: int | None = None
    n_components: int | None = None
    explanations_path: str | None = None

    @property
    def key(self) -> tuple[str, DerivedScalarType]:
        """What the registry knows it by."""
        return self.short_name, self.derived_scalar_type

    @property
    def layout(self) -> str:
        """`packed`, or `json` for a file a neuron."""
        return "packed" if self._is_packed() else "json"

    def size(self) -> tuple[int | None, int | None]:
        """How many layers, and how many components a layer has; None where that is not known."""
        if None in (self.n_layers, self.n_components) and self._is_packed():
            from neuron_explainer.activations.packed.dataset import open_packed_dataset

            info = open_packed_dataset(self.neuron_dataset_path).info
            return info.n_layers, info.n_components
        return self.n_layers, self.n_components

    def _is_packed(self) -> bool:
        from neuron_explainer.activations.packed.layout import INFO_FILE_NAME

        path = self.neuron_dataset_path
        return "://" not in path and (Path(path) / INFO_FILE_NAME).is_file()


NEURON_DATASET_METADATA_REGISTRY: dict[tuple[str, DerivedScalarType], NeuronDatasetMetadata] = {}
"""Every dataset, by (short name, derived scalar type), in order of registration."""


def _without_slash(path: str) -> str:
    return path.rstrip("/") or path


def register_neuron_dataset_metadata(metadata: NeuronDatasetMetadata, *, replace: bool = False) -> None:
    """Add a dataset to the registry.

    Args:
        metadata: the dataset.
        replace: whether it may take the place of one of the same name and type at another path.

    Raises:
        InvalidRequestError: there is one at another path already, and `replace` is not set.
    """
    known = NEURON_DATASET_METADATA_REGISTRY.get(metadata.key)
    path = metadata.neuron_dataset_path
    if known is not None and not replace and _without_slash(known.neuron_dataset_path) != _without_slash(path):
        raise InvalidRequestError(
            f"{_shown(*metadata.key)} is registered already, at {known.neuron_dataset_path}; not again at {path}. "
            "Give replace=True to put the new one in its place, or choose another short name."
        )
    NEURON_DATASET_METADATA_REGISTRY[metadata.key] = metadata


_OF_JSON = "A dataset of a JSON file a neuron is registered by register_neuron_dataset_metadata."


def register_dataset(
    path: str | os.PathLike[str], short_name: str | None = None, *, replace: bool = False
) -> NeuronDatasetMetadata:
    """Register the packed dataset in a local folder, for instance one that `collate` made.

    Args:
        path: the folder; it holds `dataset.json`.
        short_name: what to call it; None: what it calls itself.
        replace: whether it may take the place of one of the same name and type at another path.

    Raises:
        MissingFileError: there is no packed dataset in the folder.
        UnknownNameError: it is of a derived scalar type that this library does not know.
        InvalidRequestError: the name is taken, and `replace` is not set; or `path` is an address, and the packed layout
            is read from local folders alone.
    """
    from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset

    if is_url(path):
        raise InvalidRequestError(
            f"A packed dataset is read from a local folder, not from {without_secrets(path)}. {_OF_JSON}"
        )
    if not is_packed_dataset(path):
        problem = "no packed neuron dataset is here, for there is no dataset.json"
        raise MissingFileError(os.fspath(path), f"{problem}. {_OF_JSON}")
    info = PackedDataset.open(path).info
    metadata = NeuronDatasetMetadata(
        short_name=short_name or info.short_name,
        derived_scalar_type=derived_scalar_type_of(info.derived_scalar_type),
        user_visible_name=info.user_visible_name,
        neuron_dataset_path=os.path.abspath(path),
        n_layers=info.n_layers,
        n_components=info.n_components,
    )
    register_neuron_dataset_metadata(metadata, replace=replace)
    return metadata


def get_all_neuron_dataset_metadata() -> list[NeuronDatasetMetadata]:
    """Every registered dataset, in order of registration."""
    return list(NEURON_DATASET_METADATA_REGISTRY.values())


def get_neuron_dataset_metadata_by_short_name_and_dst(short_name: str, dst: DerivedScalarType) -> NeuronDatasetMetadata:
    """The dataset of this short name and derived scalar type.

    Raises:
        UnknownDatasetError: there is none; it lists those that there are, nearest first.
    """
    metadata = NEURON_DATASET_METADATA_REGISTRY.get((short_name, dst))
    if metadata is None:
        hint = (
            "A short name that ends in _undefined says that the autoencoder's name was not given: name the autoencoder."
            if short_name.endswith("_undefined")
            else "A local folder can be given by its path, and registered by register_dataset."
        )
        choices = [_shown(*key) for key in NEURON_DATASET_METADATA_REGISTRY]
        raise UnknownDatasetError("neuron dataset", _shown(short_name, dst), choices, hint)
    return metadata


def datasets() -> "pd.DataFrame":
    """The registry as a table, one row a dataset.

    Columns: short_name, derived_scalar_type, user_visible_name, n_layers, n_components (missing where not known),
    layout ("json": a file a neuron, or "packed"), path.
    """
    import pandas as pd

    rows = []
    for metadata in get_all_neuron_dataset_metadata():
        n_layers, n_components = metadata.size()
        rows.append(
            {
                "short_name": metadata.short_name,
                "derived_scalar_type": metadata.derived_scalar_type.value,
                "user_visible_name": metadata.user_visible_name,
                "n_layers": n_layers,
                "n_components": n_components,
                "layout": metadata.layout,
                "path": metadata.neuron_dataset_path,
            }
        )
    return pd.DataFrame(rows).astype({"n_layers": "Int64", "n_components": "Int64"})


def _shown(short_name: str, dst: DerivedScalarType) -> str:
    return f"{short_name} ({getattr(dst, 'value', dst)})"


def _register_what_there_is() -> None:
    for short_name, dst, visible_name, path, n_layers, n_components in PUBLIC_DATASETS:
        register_neuron_dataset_metadata(
            NeuronDatasetMetadata(
                short_name,
                dst,
                visible_name,
                PUBLIC_BASE + path,
                n_layers,
                n_components,
                explanations_path=PUBLIC_EXPLANATIONS.get((short_name, dst)),
            )
        )
    embedded = files("neuron_explainer") / "data" / EMBEDDED_SHORT_NAME
    for dst, visible_name in (
        (DerivedScalarType.MLP_POST_ACT, "Tiny embedded model - MLP neurons"),
        (DerivedScalarType.ATTN_WRITE_NORM, "Tiny embedded model - Attention write by token pair"),
    ):
        path = str(embedded / dst.value)
        register_neuron_dataset_metadata(NeuronDatasetMetadata(EMBEDDED_SHORT_NAME, dst, visible_name, path))


_register_what_there_is()
