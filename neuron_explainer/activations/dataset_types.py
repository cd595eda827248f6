"""The derived scalar type of a dataset of JSON files, which have no place for it of their own.

`collate` writes a file that says it; a record may have a field that does; and people name folders and addresses by it.
"""

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.packed.layout import (
    INFO_FILE_NAME,
    JSON_INFO_FILE_NAME,
    MOST_INFO_BYTES,
    TOKENS_FILE_NAME,
    layer_file_name,
)
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError, MalformedDatasetError, NeuronExplainerError, choices_sentence
from neuron_explainer.storage.local import is_local_file, is_local_folder, read_local_bytes
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.parsing import type_named

_N_FOLDERS = 2
"""How many names, from the end of the path, are looked at."""
_USUAL = (DerivedScalarType.MLP_POST_ACT, DerivedScalarType.ATTN_WRITE_NORM, DerivedScalarType.ATTN_QK_PROBS)


class _Described(msgspec.Struct):
    derived_scalar_type: Any = None


def type_said(path: str | os.PathLike[str], record: NeuronRecord | None = None) -> DerivedScalarType | None:
    """The derived scalar type that a dataset of JSON files says of itself; None if nothing says it.

    Args:
        path: the folder or address.
        record: one of its records, if one has been read; it may say the type, and a name that contradicts it is not
            believed.
    """
    if (described := _described(path)) is not None:
        return described
    if record is not None and record.dst is not None:
        return record.dst
    named = type_in_name(without_secrets(path))
    return None if named is not None and record is not None and not _fits(named, record) else named


def check_is_dataset(folder: str | os.PathLike[str]) -> None:
    """Refuse a local folder that holds no neuron dataset: neither a packed one's description, nor folders of layers.

    Raises:
        MalformedDatasetError: it is so.
    """
    path = Path(folder)
    if is_local_file(path / INFO_FILE_NAME) or numbered_entries(path, ""):
        return
    is_packed = is_local_file(path / TOKENS_FILE_NAME) or any(path.glob(layer_file_name(0).replace("0", "*")))
    problem = f"the folder has no {INFO_FILE_NAME}"
    if not is_packed:
        problem += " (of a packed dataset), and no folders of layers with JSON files; it is not a neuron dataset"
    raise MalformedDatasetError(problem, str(path / INFO_FILE_NAME))


def first_record(folder: str | os.PathLike[str]) -> NeuronRecord | None:
    """The first record of a local dataset of JSON files; None if it has none that can be read."""
    layers = numbered_entries(Path(folder), "")
    try:
        layer = min(layers)
        return load_neuron(folder, layer, min(numbered_entries(Path(folder) / str(layer), ".json")))
    except (NeuronExplainerError, ValueError, OSError):
        return None


def type_of_folder(folder: str | os.PathLike[str], how_to_say: str) -> DerivedScalarType:
    """The derived scalar type of a local folder or an address of JSON files.

    Raises:
        InvalidRequestError: nothing says it. `how_to_say` is what the message tells the user to do.
    """
    record = None if is_url(folder) else first_record(folder)
    said = type_said(folder, record)
    if said is not None:
        return said
    kind, fitting = "", [*dict.fromkeys([*_USUAL, *DerivedScalarType])]
    if record is not None and next(record.examples(), None) is not None:
        kind = f" Its records have a number for each {'token pair' if record.is_by_token_pair else 'token'}."
        fitting = [dst for dst in fitting if _fits(dst, record)]
    raise InvalidRequestError(
        f"{without_secrets(folder)} does not say its derived scalar type, in its name or its records. "
        f"{how_to_say}{kind} {choices_sentence([dst.value for dst in fitting])}"
    )


def type_in_name(path: str) -> DerivedScalarType | None:
    """The only derived scalar type that the last names of a path contain.

    >>> type_in_name("data/gpt2_attn-write-norm/v1/").value
    'attn_write_norm'
    """
    for name in [part for part in re.split(r"[/\\]", path) if part][: -_N_FOLDERS - 1 : -1]:
        words = f"_{re.sub('[^a-z0-9]+', '_', name.lower())}_"
        found = [dst for dst in DerivedScalarType if f"_{dst.value}_" in words]
        longest = [dst for dst in found if not any(dst is not other and dst.value in other.value for other in found)]
        if len(longest) == 1:
            return longest[0]
    return None


def _described(path: str | os.PathLike[str]) -> DerivedScalarType | None:
    """The type in the file that describes a packed dataset, or that `collate` writes beside JSON records."""
    if is_url(path) or not is_local_folder(path):
        return None
    for name in (INFO_FILE_NAME, JSON_INFO_FILE_NAME):
        try:
            content = read_local_bytes(Path(path) / name, MOST_INFO_BYTES)
            return type_named(msgspec.json.decode(content, type=_Described).derived_scalar_type)
        except (NeuronExplainerError, msgspec.MsgspecError, ValueError, RecursionError):
            continue
    return None


def _fits(dst: DerivedScalarType, record: NeuronRecord) -> bool:
    """Whether a record with its activations per token, or per token pair, can be of a type."""
    axes = dst.shape_spec_per_token_sequence
    by_pair = axes[:-1] in (
        (Dimension.SEQUENCE_TOKEN_PAIRS,),
        (Dimension.SEQUENCE_TOKENS, Dimension.ATTENDED_TO_SEQUENCE_TOKENS),
    )
    by_token = axes[:-1] == (Dimension.SEQUENCE_TOKENS,)
    return by_pair if record.is_by_token_pair else by_token


def numbered_entries(folder: Path, suffix: str) -> list[int]:
    """The numbers that are the names in a folder, without the suffix."""
    try:
        names = [entry.name.removesuffix(suffix) for entry in os.scandir(folder) if entry.name.endswith(suffix)]
    except OSError:
        return []
    return [int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 10]
