"""The state of a run on disk: one file, replaced atomically, so that a run killed at any moment can go on."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuron_explainer.collation.corpus.windows import Cursor
from neuron_explainer.errors import CollateError, DatasetExistsError, OutOfSpaceError
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX, replaced_atomically

CHECKPOINT_FILE_NAME = "checkpoint.safetensors"
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class ResumePoint:
    """Where a run is.

    Attributes:
        pool_start: where the pool that is being worked on begins.
        batches_done: how many of its batches are in.
        n_texts, digest: how many texts were read for it, and their SHA-256, by which other texts are told apart.
        is_complete: whether all texts are in.
    """

    pool_start: Cursor
    batches_done: int
    n_texts: int
    digest: str
    is_complete: bool = False

    @property
    def read(self) -> tuple[int, str]:
        """What a reader of the same texts must find: how many texts, and their digest."""
        return self.n_texts, self.digest


@dataclass(frozen=True)
class SavedState:
    """A run's state as it was saved."""

    position: ResumePoint
    tensors: dict[str, Tensor]


def save_state(folder: Path, identity: dict[str, Any], position: ResumePoint, tensors: dict[str, Tensor]) -> None:
    """Replace the folder's checkpoint.

    Raises:
        OutOfSpaceError: the disk is full; the former checkpoint is still there.
    """
    described = {"identity": identity, "position": asdict(position)}
    metadata = {"collate": msgspec.json.encode(described).decode()}
    with raise_if_disk_full(folder), replaced_atomically(folder / CHECKPOINT_FILE_NAME) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_state(folder: Path, identity: dict[str, Any]) -> SavedState | None:
    """The folder's checkpoint, if there is one; leftovers of a killed process are removed.

    Raises:
        DatasetExistsError: it is of a run with another model or other settings.
        CollateError: it is not sound.
    """
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    path = folder / CHECKPOINT_FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            described = msgspec.json.decode(file.metadata()["collate"])
            names = list(file.keys())
            found = described["identity"]
            if found == identity:
                tensors = {name: file.get_tensor(name) for name in names}
                saved = described["position"]
                position = ResumePoint(**saved | {"pool_start": Cursor(**saved["pool_start"])})
                return SavedState(position, tensors)
    except (SafetensorError, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise CollateError(f"{path} is no sound checkpoint ({error}). Remove it, or give overwrite=True.") from None
    raise DatasetExistsError(
        f"{path.parent} holds an unfinished run that differs in {differences(found, identity)}. Give the same settings "
        "to finish it, overwrite=True to start anew, or another folder."
    )


def differences(found: Any, asked: Any, name: str = "") -> str:
    """In what two descriptions differ, in words."""
    if isinstance(found, dict) and isinstance(asked, dict):
        parts = (
            differences(found.get(key), asked.get(key), f"{name}.{key}" if name else key)
            for key in sorted(found.keys() | asked.keys())
        )
        return "; ".join(part for part in parts if part)
    return "" if found == asked else f"{name} (there {found!r}, asked {asked!r})"


@contextmanager
def raise_if_disk_full(folder: Path) -> Iterator[None]:
    """Turn a write that failed because the disk is full into an error that says so."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors reports the system's error as text alone.
        number = error.errno if isinstance(error, OSError) else None
        full = number in _DISK_IS_FULL or any(f"os error {code})" in str(error) for code in _DISK_IS_FULL)
        if not full:
            raise
        raise OutOfSpaceError(
            number or errno.ENOSPC,
            f"The disk is full, or a file may not grow further ({error}). What was saved before is intact: make room "
            "and run the same command again, and it goes on from there",
            os.fspath(folder),
        ) from None
