"""The state of a run on disk: one file, replaced atomically, so that a run killed at any moment can go on."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.windows import CorpusPosition
from neuron_explainer.collation.runs.job import CorpusSummary
from neuron_explainer.errors import CollateError, DatasetExistsError, InvalidRequestError
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX, replaced_atomically
from neuron_explainer.storage.disk_full import raise_if_disk_full

STATE_FILE_NAME = "checkpoint.safetensors"


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
    metadata = {"collate": msgspec.json.encode(described).decode()}
    with raise_if_disk_full(folder), replaced_atomically(folder / STATE_FILE_NAME) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_state(folder: Path, identity: dict[str, Any]) -> SavedState | None:
    """Load the saved state in a folder; None if nothing is saved. Unfinished files of a killed process are removed.

    Raises:
        DatasetExistsError: the state belongs to a run with another model or other settings.
        CollateError: the file is damaged.
    """
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    path = folder / STATE_FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            described = msgspec.json.decode(file.metadata()["collate"])
            names = list(file.keys())
            found = described["identity"]
            if found == identity:
                tensors = {name: file.get_tensor(name) for name in names}
                position = described["position"]
                chunk_start = CorpusPosition(**position["chunk_start"])
                return SavedState(ResumePoint(**position | {"chunk_start": chunk_start}), tensors)
    except (SafetensorError, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise CollateError(
            f"The saved state {path} is damaged ({error}). Remove it, or start again with overwrite=True."
        ) from None
    raise DatasetExistsError(
        f"{path.parent} has an unfinished run with different settings: {differences(found, identity)}. Use the same "
        "settings to finish it, overwrite=True to start again, or another folder."
    )


def differences(found: Any, asked: Any, name: str = "") -> str:
    """The differences between two descriptions, in words."""
    if isinstance(found, dict) and isinstance(asked, dict):
        parts = (
            differences(found.get(key), asked.get(key), f"{name}.{key}" if name else key)
            for key in sorted(found.keys() | asked.keys())
        )
        return "; ".join(part for part in parts if part)
    return "" if found == asked else f"{name} (there {found!r}, asked {asked!r})"
