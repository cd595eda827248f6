"""What readers of one file or several (shards) say of where a tensor is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path


class TensorsInFiles(ABC):
    """A reader whose tensors are each in one of several files, under their own names."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)

    @abstractmethod
    def file_of(self, name: str | None) -> Path | None:
        """The file of a tensor; None if no file has it."""

    def where(self, name: str | None = None) -> str:
        """The file of a tensor; without a name, the only file or the folder of several."""
        file = self.file_of(name)
        if file is not None:
            return str(file)
        return str(self._files[0] if len(self._files) == 1 else self._files[0].parent)

    def stored_name(self, name: str) -> str:
        """The name itself."""
        return name
