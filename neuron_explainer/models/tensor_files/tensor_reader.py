"""The tensors of a checkpoint, in whatever format: by name, with shapes that are known before they are read."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import CheckpointError


@runtime_checkable
class TensorReader(Protocol):
    """A checkpoint's tensors, under the names in Hugging Face's checkpoints of the family."""

    def names(self) -> Collection[str]:
        """The names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    def where(self, name: str | None = None) -> str:
        """The file of a tensor, or the file or folder of the whole checkpoint; for errors."""

    def stored_name(self, name: str) -> str:
        """The tensor's name in the file itself; for errors."""

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor; all its numbers are finite.

        Raises:
            CheckpointError: the tensor cannot be read, or is not finite.
        """


@runtime_checkable
class RowReader(TensorReader, Protocol):
    """A reader that can read a few rows of a matrix: an offloaded model needs only those of its tokens' embeddings."""

    def read_rows(
        self, name: str, rows: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "rows ..."]:
        """Some rows of a tensor, in the order given; all their numbers are finite.

        Raises:
            CheckpointError: they cannot be read, or are not finite.
        """


@contextmanager
def naming_the_tensor(reader: TensorReader) -> Iterator[None]:
    """Add the file, and the tensor's name in it, to a checkpoint error that names no file."""
    try:
        yield
    except CheckpointError as error:
        if error.file is not None:
            raise
        file = reader.where(error.tensor)
        stored_name = error.tensor if error.tensor is None else reader.stored_name(error.tensor)
        alias = "" if stored_name == error.tensor else f" ({error.tensor!r} is {stored_name!r} in the file.)"
        raise type(error)(f"{file}: {error}{alias}", file=file, tensor=stored_name) from error
