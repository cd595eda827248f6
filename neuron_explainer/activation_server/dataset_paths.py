"""The path of a neuron dataset by its short name, and the short name by its path."""

import os
from pathlib import Path

from neuron_explainer.activation_server.neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    NeuronDatasetMetadata,
    get_all_neuron_dataset_metadata,
    get_neuron_dataset_metadata_by_short_name_and_dst,
    registered_name,
)
from neuron_explainer.activations.dataset_types import type_said
from neuron_explainer.errors import (
    InvalidRequestError,
    UnknownDatasetError,
    UnsupportedLocationError,
    choices_sentence,
)
from neuron_explainer.storage.local import is_local_folder
from neuron_explainer.storage.locations import is_url, path_text, without_secrets
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of


def dataset_text(dataset: object) -> str:
    """A dataset's name, address or folder as text; a ~ at its beginning stands for the user's folder.

    A registered short name may be in another case.

    Raises:
        UnsupportedLocationError: it is neither a text nor a path object.
    """
    if not isinstance(dataset, str | os.PathLike):
        hint = ""
        # A check of the class of a model, or of its context, would import torch.
        if hasattr(dataset, "get_or_create_model") or hasattr(dataset, "intervene"):
            hint = " For a model's record on texts, use live_record(model, layer, neuron, texts)."
        raise UnsupportedLocationError(
            f"dataset must be a name, an address or a folder, not of type {type(dataset).__name__}.{hint}"
        )
    text = os.path.expanduser(path_text(dataset))
    return text if is_local_folder(text) else registered_name(text, get_all_neuron_dataset_metadata())


def dataset_subject(dataset: str | os.PathLike[str]) -> str:
    """The one spelling of a dataset, under which something is kept about it.

    Args:
        dataset: a registered short name, which stays; an address, which loses its credentials; or a local folder, which
            becomes its whole path.

    >>> dataset_subject("Tiny"), dataset_subject("https://user:password@host/data/")
    ('tiny', 'https://host/data')
    """
    text = dataset_text(dataset)
    if is_url(dataset):
        return without_secrets(text).rstrip("/")
    if _is_path(text):
        return os.path.abspath(text)
    # `collate` registers its folder by the folder's name: where both mean the same, the path is what lasts.
    whole = os.path.abspath(text)
    paths = [each.neuron_dataset_path for each in get_all_neuron_dataset_metadata() if each.short_name == text]
    return whole if any(not is_url(path) and os.path.abspath(path) == whole for path in paths) else text


def resolve_neuron_dataset(dataset: str | os.PathLike[str], dst: DerivedScalarType | str) -> str:
    """The path (address or local folder) of a neuron dataset.

    A registered short name takes precedence over a local folder of the same name; `./name` is always the folder.

    Args:
        dataset: a registered short name, an http(s) address or a local folder.
        dst: the derived scalar type, or its name; it selects among the datasets of one short name.

    Raises:
        UnknownDatasetError: `dataset` is not an address, a folder, or a short name with this derived scalar type.
        UnsupportedLocationError: it is an address that is not http(s), or neither a text nor a path object.

    >>> resolve_neuron_dataset("gpt2-xl", "mlp_post_act")
    'https://openaipublic.blob.core.windows.net/neuron-explainer/data/collated-activations/'
    """
    if _is_path(dataset):
        return dataset_text(dataset)
    return _registered(dataset, dst).neuron_dataset_path


def type_of_dataset(dataset: str | os.PathLike[str], dst: DerivedScalarType | str | None) -> DerivedScalarType:
    """The derived scalar type that was asked for, or else the type that a dataset's name most likely means.

    Args:
        dataset: a registered short name, an address or a folder.
        dst: the type or its name; None: mlp_post_act if the short name has it, or else the only type that it has; of a
            folder or an address, the type that it says.

    Raises:
        UnknownNameError: the derived scalar type is unknown.
        UnsupportedLocationError: as `resolve_neuron_dataset`.

    >>> type_of_dataset("gpt2-small_ae-resid-delta-mlp-v4", None).value
    'mlp_autoencoder_latent'
    """
    if dst is not None:
        return derived_scalar_type_of(dst)
    name, types = dataset_text(dataset), registered_types(dataset)
    if len(types) == 1:
        return types[0]
    said = type_said(name) if _is_path(name) else None
    return said or DerivedScalarType.MLP_POST_ACT


def registered_types(dataset: str | os.PathLike[str]) -> list[DerivedScalarType]:
    """The derived scalar types that are registered under a short name; none for an address or a folder.

    >>> [dst.value for dst in registered_types("tiny")]
    ['mlp_post_act', 'attn_write_norm']
    """
    name = dataset_text(dataset)
    return [scalar_type for short_name, scalar_type in NEURON_DATASET_METADATA_REGISTRY if short_name == name]


def local_dataset_folder(dataset: str | os.PathLike[str], dst: DerivedScalarType | str) -> Path:
    """The local folder of a neuron dataset, by its short name or by itself.

    Raises:
        InvalidRequestError: the dataset is at an address.
        UnknownDatasetError, UnsupportedLocationError: as `resolve_neuron_dataset`.

    >>> local_dataset_folder("tiny", "mlp_post_act").name
    'mlp_post_act'
    """
    path = resolve_neuron_dataset(dataset, dst)
    if is_url(path):
        raise InvalidRequestError(
            f"{without_secrets(dataset_text(dataset))} is at an address. Give a dataset in a local folder."
        )
    return Path(path)


def explanations_path(dataset: str | os.PathLike[str], dst: DerivedScalarType) -> str:
    """The path (address or local folder) of explanations: that of a registered dataset, or `dataset` if it is a path.

    Raises:
        UnknownDatasetError: `dataset` is not an address, a folder, or a short name with this derived scalar type.
        InvalidRequestError: no explanations are registered for the dataset.
    """
    if _is_path(dataset):
        return dataset_text(dataset)
    path = _registered(dataset, dst).explanations_path
    if path is None:
        choices = [f"{each.short_name} ({each.derived_scalar_type.value})" for each in _with_explanations()]
        raise InvalidRequestError(
            f"No explanations are registered for {dataset} ({dst.value}). {choices_sentence(choices)}"
        )
    return path


def _with_explanations() -> list[NeuronDatasetMetadata]:
    return [each for each in NEURON_DATASET_METADATA_REGISTRY.values() if each.explanations_path is not None]


def _is_path(dataset: str | os.PathLike[str]) -> bool:
    name = dataset_text(dataset)
    if is_url(dataset):
        return True
    is_short_name = any(short_name == name for short_name, _ in NEURON_DATASET_METADATA_REGISTRY)
    return not is_short_name and name != "" and is_local_folder(name)


def _registered(dataset: str | os.PathLike[str], dst: DerivedScalarType | str) -> NeuronDatasetMetadata:
    """The registered dataset of a short name. (`_is_path` found that it is not a path.)"""
    name = path_text(dataset)
    try:
        return get_neuron_dataset_metadata_by_short_name_and_dst(name, dst)
    except UnknownDatasetError as error:
        if os.path.basename(name) == name or error.asked != name:
            raise
        # It looks like a path, so the message says first that the folder is missing.
        raise UnknownDatasetError("folder or neuron dataset", error.asked, error.choices) from None


def convert_dataset_path_to_short_name(dataset_path: str | os.PathLike[str]) -> str:
    """The short name of the dataset registered at an address or local folder, with or without a slash at its end.

    Raises:
        UnknownDatasetError: no dataset is registered there.

    >>> convert_dataset_path_to_short_name(resolve_neuron_dataset("tiny", "mlp_post_act"))
    'tiny'
    """
    short_name_by_path = {
        metadata.neuron_dataset_path.rstrip("/"): metadata.short_name
        for metadata in NEURON_DATASET_METADATA_REGISTRY.values()
    }
    path = path_text(dataset_path)
    short_name = short_name_by_path.get(path.rstrip("/"))
    if short_name is None:
        raise UnknownDatasetError(
            "registered neuron dataset at",
            without_secrets(path),
            map(without_secrets, short_name_by_path),
            "Register your own with register_dataset.",
        )
    return short_name
