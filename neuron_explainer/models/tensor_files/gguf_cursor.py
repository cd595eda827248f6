"""Reading the description of a GGUF file, value by value."""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuron_explainer.errors import MalformedCheckpointError

_SCALAR_FORMATS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"
}  # fmt: skip
_FLOAT32, _STRING, _ARRAY = 6, 8, 9


@dataclass
class GgufCursor:
    """A place in the file's bytes, which moves on as values are read."""

    path: Path
    content: mmap.mmap
    position: int = 0

    def take(self, n_bytes: int) -> bytes:
        """The next bytes.

        Raises:
            MalformedCheckpointError: there are not so many left.
        """
        piece = self.content[self.position : self.position + n_bytes]
        if len(piece) != n_bytes:
            raise MalformedCheckpointError(
                f"{self.path} is cut off or no GGUF file: it ends at byte {len(self.content)}, in the middle of its "
                f"description, where {n_bytes} bytes from byte {self.position} on were expected.",
                file=self.path,
            )
        self.position += n_bytes
        return piece

    def scalar(self, layout: str) -> Any:
        """The next number, in a layout of `struct`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def string(self) -> str:
        """The next text: its length in bytes, then UTF-8."""
        start = self.position
        try:
            return self.take(self.scalar("<Q")).decode()
        except UnicodeDecodeError as error:
            raise MalformedCheckpointError(
                f"{self.path}: the text at byte {start} is no UTF-8.", file=self.path
            ) from error

    def value(self, type_number: int) -> Any:
        """The next value of a metadata entry, of the type that GGUF numbers so."""
        if type_number == _STRING:
            return self.string()
        if type_number == _ARRAY:
            item_type, length = self.scalar("<I"), self.scalar("<Q")
            if length > len(self.content):
                raise MalformedCheckpointError(f"{self.path} claims a list of {length} entries.", file=self.path)
            if item_type in _SCALAR_FORMATS:
                layout = np.dtype(_SCALAR_FORMATS[item_type])
                return np.frombuffer(self.take(length * layout.itemsize), dtype=layout).tolist()
            return [self.value(item_type) for _ in range(length)]
        if type_number not in _SCALAR_FORMATS:
            raise MalformedCheckpointError(
                f"{self.path}: byte {self.position - 4} names a value's type {type_number}, which GGUF does not have.",
                file=self.path,
            )
        value = self.scalar(_SCALAR_FORMATS[type_number])
        # The shortest number that the 32 bits stand for: 1e-05, not 9.999999747378752e-06.
        return float(str(np.float32(value))) if type_number == _FLOAT32 else value
