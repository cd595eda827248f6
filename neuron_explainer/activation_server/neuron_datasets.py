"""The registry of neuron datasets, by short name and derived scalar type.

The public datasets are OpenAI's. A neuron is downloaded from its public address when it is asked for. `tiny` is part of
this package and needs no network.
"""

import os
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING

from neuron_explainer.activation_server.dataset_metadata import NeuronDatasetMetadata
from neuron_explainer.activation_server.public_datasets import PUBLIC_BASE, PUBLIC_DATASETS, PUBLIC_EXPLANATIONS
from neuron_explainer.errors import InvalidRequestError, MissingFileError, NeuronExplainerError, UnknownDatasetError
from neuron_explainer.storage.locations import expanded, is_url, without_secrets
from neuron_explainer.vocabulary.checks import checked_flag, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EMBEDDED_SHORT_NAME",
    "NEURON_DATASET_METADATA_REGISTRY",
    "NeuronDatasetMetadata",
    "datasets",
    "get_all_neuron_dataset_metadata",
    "get_neuron_dataset_metadata_by_short_name_and_dst",
    "register_dataset",
    "register_neuron_dataset_metadata",
]

EMBEDDED_SHORT_NAME = "tiny"


NEURON_DATASET_METADATA_REGISTRY: dict[tuple[str, DerivedScalarType], NeuronDatasetMetadata] = {}
"""All datasets, by (short name, derived scalar type), in order of registration."""


def _without_slash(path: str) -> str:
    return path.rstrip("/") or path


def register_neuron_dataset_metadata(metadata: NeuronDatasetMetadata, *, replace: bool = False) -> None:
    """Add a dataset to the registry.

    Args:
        metadata: the dataset.
        replace: whether to replace a dataset of the same name and type at another path.

    Raises:
        InvalidRequestError: the name is registered with another path, and `replace` is False; or `metadata` is not a
            NeuronDatasetMetadata.

    An example, for a dataset with one JSON file per neuron:

        ne.register_neuron_dataset_metadata(
            NeuronDatasetMetadata("mine", "mlp_post_act", "My neurons", "https://host/path/")
        )
        ne.load_neuron("mine", 2, 5)
    """
    checked_type("metadata", metadata, NeuronDatasetMetadata)
    checked_flag("replace", replace)
    known = NEURON_DATASET_METADATA_REGISTRY.get(metadata.key)
    path = metadata.neuron_dataset_path
    if known is not None and not replace and _without_slash(known.neuron_dataset_path) != _without_slash(path):
        raise InvalidRequestError(
            f"{metadata.short_name} ({metadata.derived_scalar_type.value}) is already registered with the path "
            f"{without_secrets(known.neuron_dataset_path)}, not {without_secrets(path)}. Pass replace=True to "
            "replace it, or choose another short name."
        )
    NEURON_DATASET_METADATA_REGISTRY[metadata.key] = metadata


_JSON_HINT = "For a dataset with one JSON file per neuron, use register_neuron_dataset_metadata."


def register_dataset(
    path: str | os.PathLike[str], short_name: str | None = None, *, replace: bool = False
) -> NeuronDatasetMetadata:
    """Register the packed dataset in a local folder, such as one that `collate` made.

    Args:
        path: the folder, which holds `dataset.json`.
        short_name: the name to register; None: the name in `dataset.json`.
        replace: whether to replace a dataset of the same name and type at another path.

    Returns:
        The registry's entry.

    Raises:
        MissingFileError: the folder holds no packed dataset.
        MalformedDatasetError: `dataset.json` is invalid.
        UnknownNameError: the dataset's derived scalar type is unknown.
        InvalidRequestError: the name is registered with another path, and `replace` is False; or `path` is an address.

    >>> import neuron_explainer as ne
    >>> folder = ne.datasets().query("short_name == 'tiny'").path.iloc[0]
    >>> ne.register_dataset(folder, "my neurons").size()
    (4, 512)
    """
    from neuron_explainer.activations.packed.dataset import PackedDataset, is_packed_dataset

    if short_name is not None:
        checked_type("short_name", short_name, str)
    if is_url(path):
        raise InvalidRequestError(
            f"{without_secrets(path)} is an address. A packed dataset is read from a local folder. {_JSON_HINT}"
        )
    if not is_packed_dataset(expanded(path)):
        raise MissingFileError(os.fspath(path), f"not a packed neuron dataset: dataset.json not found. {_JSON_HINT}")
    info = PackedDataset.open(expanded(path)).info
    metadata = NeuronDatasetMetadata(
        short_name=short_name or info.short_name,
        derived_scalar_type=derived_scalar_type_of(info.derived_scalar_type),
        user_visible_name=info.user_visible_name,
        neuron_dataset_path=os.path.abspath(expanded(path)),
        n_layers=info.n_layers,
        n_components=info.n_components,
    )
    register_neuron_dataset_metadata(metadata, replace=replace)
    return metadata


def get_all_neuron_dataset_metadata() -> list[NeuronDatasetMetadata]:
    """All registered datasets, in order of registration."""
    return list(NEURON_DATASET_METADATA_REGISTRY.values())


def get_neuron_dataset_metadata_by_short_name_and_dst(
    short_name: str, dst: DerivedScalarType | str
) -> NeuronDatasetMetadata:
    """The registered dataset of a short name and derived scalar type.

    Raises:
        UnknownDatasetError: it is not registered; the error lists the registered names, nearest first, or the derived
            scalar types of the name.
        UnknownNameError: the derived scalar type is unknown.
    """
    return dataset_among(NEURON_DATASET_METADATA_REGISTRY.values(), short_name, dst)


def dataset_among(
    known: Iterable[NeuronDatasetMetadata], short_name: str, dst: DerivedScalarType | str
) -> NeuronDatasetMetadata:
    """The dataset of a short name and derived scalar type among the known ones.

    Raises:
        UnknownDatasetError, UnknownNameError: as `get_neuron_dataset_metadata_by_short_name_and_dst`.
    """
    dst = derived_scalar_type_of(dst)
    checked_type("short_name", short_name, str)
    by_key = {metadata.key: metadata for metadata in known}
    short_name = registered_name(short_name, by_key.values())
    if (short_name, dst) in by_key:
        return by_key[short_name, dst]
    types = [other.value for name, other in by_key if name == short_name]
    if types:
        raise UnknownDatasetError.of_scalar(short_name, dst.value, types)
    hint = (
        "A short name ends in _undefined if the autoencoder's name was not given. Give its name."
        if short_name.endswith("_undefined")
        else "For a local folder, give its path, or register it with register_dataset."
    )
    raise UnknownDatasetError("neuron dataset", short_name, dict.fromkeys(name for name, _ in by_key), hint)


def registered_name(name: str, known: Iterable[NeuronDatasetMetadata]) -> str:
    """The short name that a name in any case stands for; a name that is unknown stays as it is.

    >>> registered_name("GPT2-small", get_all_neuron_dataset_metadata())
    'gpt2-small'
    """
    names = {metadata.short_name: metadata.short_name.lower() for metadata in known}
    if name in names:
        return name
    return next((known_name for known_name, lower in names.items() if lower == name.lower()), name)


def datasets() -> "pd.DataFrame":
    """A table of the registered neuron datasets, one row per dataset.

    Columns: short_name, derived_scalar_type, user_visible_name, n_layers, n_components (per layer; missing if unknown),
    layout ("json": one file per neuron, "packed", or "unreadable: " and why), path (address or folder).

    It is for people: addresses are without credentials and query, and control and direction characters are escapes.
    `get_all_neuron_dataset_metadata` gives the entries themselves.

    >>> import neuron_explainer as ne
    >>> ne.datasets().query("short_name == 'tiny'").derived_scalar_type.tolist()
    ['mlp_post_act', 'attn_write_norm']
    """
    import pandas as pd

    rows = []
    for metadata in get_all_neuron_dataset_metadata():
        try:
            metadata.check_readable()
            (n_layers, n_components), layout = metadata.size(), metadata.layout
        except (NeuronExplainerError, OSError) as error:  # one broken folder must not hide the other datasets
            n_layers, n_components, layout = metadata.n_layers, metadata.n_components, f"unreadable: {error}"
        rows.append(
            {
                "short_name": without_steering(metadata.short_name),
                "derived_scalar_type": metadata.derived_scalar_type.value,
                "user_visible_name": without_steering(metadata.user_visible_name),
                "n_layers": n_layers,
                "n_components": n_components,
                "layout": without_steering(layout),
                "path": without_steering(without_secrets(metadata.neuron_dataset_path)),
            }
        )
    return pd.DataFrame(rows).astype({"n_layers": "Int64", "n_components": "Int64"})


def _register_known_datasets() -> None:
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


_register_known_datasets()
