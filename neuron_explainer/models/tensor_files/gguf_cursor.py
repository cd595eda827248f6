"""Reading the header of a GGUF file, value by value."""

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
_DEEPEST = 8
"""How many lists may be within each other. Files of models have lists of numbers and texts alone."""


@dataclass
class GgufCursor:
    """A position in the file's bytes that moves on as values are read."""

    path: Path
    content: mmap.mmap
    position: int = 0

    def take(self, n_bytes: int) -> bytes:
        """The next bytes.

        Raises:
            MalformedCheckpointError: the file ends earlier.
        """
        piece = self.content[self.position : self.position + n_bytes]
        if len(piece) != n_bytes:
            raise MalformedCheckpointError(
                f"{self.path} is cut off or not a GGUF file: {n_bytes} bytes of the header are expected at byte "
                f"{self.position}, but the file ends at byte {len(self.content)}.",
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
                f"{self.path}: the text at byte {start} is not UTF-8.", file=self.path
            ) from error

    def value(self, type_number: int, depth: int = 0) -> Any:
        """The next value of a metadata entry, of the type with this GGUF number, within `depth` lists."""
        if type_number == _STRING:
            return self.string()
        if type_number == _ARRAY:
            item_type, length = self.scalar("<I"), self.scalar("<Q")
            if depth == _DEEPEST:
                raise MalformedCheckpointError(
                    f"{self.path}: lists at byte {self.position} are nested too deeply.", file=self.path
                )
            if length > len(self.content):
                raise MalformedCheckpointError(
                    f"{self.path}: the length {length} of a list exceeds the file.", file=self.path
                )
            if item_type in _SCALAR_FORMATS:
                layout = np.dtype(_SCALAR_FORMATS[item_type])
                return np.frombuffer(self.take(length * layout.itemsize), dtype=layout).tolist()
            return [self.value(item_type, depth + 1) for _ in range(length)]
        if type_number not in _SCALAR_FORMATS:
            raise MalformedCheckpointError(
                f"{self.path}: unknown value type {type_number} at byte {self.position - 4}.",
                file=self.path,
            )
        value = self.scalar(_SCALAR_FORMATS[type_number])
        # The shortest number with the same 32 bits: 1e-05, not 9.999999747378752e-06.
        return float(str(np.float32(value))) if type_number == _FLOAT32 else value
