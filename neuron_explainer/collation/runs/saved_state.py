"""The state of a run on disk: one file, replaced atomically, so that a run killed at any moment can go on."""

import hashlib
import os
import re
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.windows import CorpusPosition
from neuron_explainer.collation.runs.job import CorpusSummary
from neuron_explainer.errors import CollateError, DatasetExistsError, InvalidRequestError, shown
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX, replaced_atomically
from neuron_explainer.storage.disk_full import raise_if_disk_full
from neuron_explainer.storage.tensor_views import tensor_metadata
from neuron_explainer.wording import in_a_sentence

STATE_FILE_NAME = "checkpoint.safetensors"

_DESCRIPTION = "collate"
_VERSION = "1"
_LARGEST_COUNT = 2**60


@dataclass(frozen=True)
class ResumePoint:
    """How far a run has come.

    Attributes:
        chunk_start: where the current chunk of the corpus begins.
        batches_done: how many of the chunk's batches are collated.
        n_texts, digest: how many texts were read so far, and their SHA-256; a resumed run must read the same.
        is_complete: whether all texts are collated.
    """

    chunk_start: CorpusPosition
    batches_done: int
    n_texts: int
    digest: str
    is_complete: bool = False

    @classmethod
    def at_the_end(cls, end: CorpusPosition, reader: CorpusReader) -> "ResumePoint":
        """The point after the last text.

        Raises:
            InvalidRequestError: the texts contain no tokens.
        """
        if end.sequences == 0:
            raise InvalidRequestError("The texts contain no tokens.")
        return cls(end, 0, reader.n_texts, reader.digest, is_complete=True)

    @property
    def read(self) -> tuple[int, str]:
        """How many texts a resumed run must find, and their digest."""
        return self.n_texts, self.digest

    @property
    def corpus(self) -> CorpusSummary:
        """The corpus up to the start of the chunk: all of it, once the run is complete."""
        return CorpusSummary(self.n_texts, self.chunk_start.tokens, self.chunk_start.sequences, self.digest)


@dataclass(frozen=True)
class SavedState:
    """A run's saved state."""

    resume_point: ResumePoint
    tensors: dict[str, Tensor]


def save_state(folder: Path, identity: dict[str, Any], resume_point: ResumePoint, tensors: dict[str, Tensor]) -> None:
    """Replace the saved state in a folder.

    Raises:
        OutOfSpaceError: the disk is full; the earlier saved state is intact.
    """
    described = {"identity": identity, "position": asdict(resume_point)}
    text = msgspec.json.encode(described).decode()
    metadata = {_DESCRIPTION: text, "version": _VERSION, "sha256": _checksum(text, tensors)}
    with raise_if_disk_full(folder), replaced_atomically(folder / STATE_FILE_NAME) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_state(folder: Path, identity: dict[str, Any]) -> SavedState | None:
    """Load the saved state in a folder; None if nothing is saved. Unfinished files of a killed process are removed.

    Raises:
        DatasetExistsError: the state belongs to a run with another model or other settings.
        CollateError: the file is damaged, or was saved by another version of the library.
    """
    remove_unfinished(folder)
    path = folder / STATE_FILE_NAME
    if not os.path.lexists(path):
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (version := metadata.get("version")) != _VERSION:
            raise ValueError(f"its version is {version}, and {_VERSION} is read")
        if _checksum(metadata[_DESCRIPTION], tensors) != metadata["sha256"]:
            raise ValueError("its checksum differs")
        described = msgspec.json.decode(metadata[_DESCRIPTION])
        found = described["identity"]
        resume_point = msgspec.convert(described["position"], ResumePoint)
        counted = (*astuple(resume_point.chunk_start), resume_point.batches_done, resume_point.n_texts)
        if min(counted) < 0 or max(counted) > _LARGEST_COUNT or resume_point.chunk_start.texts > resume_point.n_texts:
            raise ValueError(f"it cannot have come so far: {counted}")
    except Exception as error:  # whatever a damaged file leads to
        raise CollateError(
            f"The saved state {path} is damaged ({in_a_sentence(error)}). Remove it, or start again with "
            "overwrite=True."
        ) from None
    if found != identity:
        raise DatasetExistsError(
            f"{path.parent} has an unfinished run with different settings: {differences(found, identity)}. Use the "
            "same settings to finish it, overwrite=True to start again, or another folder."
        )
    return SavedState(resume_point, tensors)


def is_saved_state(path: Path) -> bool:
    """Whether a file is a run's saved state, and not somebody's own of the same name. Its beginning tells."""
    try:
        return _DESCRIPTION in tensor_metadata(path)
    except (ValueError, OSError):
        return False


def remove_unfinished(folder: Path) -> None:
    """Remove the files that killed processes had not finished."""
    name = re.escape(f".{STATE_FILE_NAME}.")
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        if re.fullmatch(rf"{name}\d+-[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}", leftover.name):
            leftover.unlink(missing_ok=True)


def _checksum(described: str, tensors: dict[str, Tensor]) -> str:
    """The SHA-256, in hex, of all that a saved state contains."""
    digest = hashlib.sha256(described.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def differences(found: Any, asked: Any, name: str = "") -> str:
    """The differences between two descriptions, in words."""
    if isinstance(found, dict) and isinstance(asked, dict):
        parts = (
            differences(found.get(key), asked.get(key), f"{name}.{key}" if name else key)
            for key in sorted(found.keys() | asked.keys())
        )
        return "; ".join(part for part in parts if part)
    return "" if found == asked else f"{name} (there {shown(found)}, asked {shown(asked)})"
