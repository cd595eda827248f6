"""The weights of a model that stay in the checkpoint's files: read when they are used, and let go afterwards.

A file is read and not mapped: what is read lands in aligned memory of its own, in the model's dtype, exactly as in a
model that is loaded, so that results are the same bit for bit. A file that is cut off is an error, where a map would
end the process. And the system keeps the files in its cache all the same, as far as there is memory that nobody needs.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuron_explainer.errors import CheckpointNotFoundError, InvalidRequestError, MalformedCheckpointError
from neuron_explainer.models.devices import differentiable
from neuron_explainer.models.families.family import TensorSource, unchanged
from neuron_explainer.models.offload.held_weights import HeldWeights
from neuron_explainer.models.tensor_files.own_memory import memory_of_its_own
from neuron_explainer.models.tensor_files.tensor_reader import RowReader, TensorReader, naming_the_tensor
from neuron_explainer.storage.locations import is_url


class DiskWeights:
    """Reads the weights of a model from its files, each when it is asked for.

    A pass reads one layer after the other, and a backward pass reads each again: the graph remembers a weight by its
    name.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[str, TensorSource]],
        reader: TensorReader,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Remember where the weights are.

        Args:
            sources: for each parameter, the tensor's name in the reader, and how it is made from that tensor.
            reader: reads the tensors.
            dtype: the parameters' dtype.
            device: where they are put to be used.

        Raises:
            InvalidRequestError: the tensors are not in files on this machine.
        """
        self.dtype, self.device = dtype, device
        self._sources = dict(sources)
        self._reader = reader
        self._held = HeldWeights()
        self._states: dict[str, _FileState | None] = {}
        for tensor_name, _ in self._sources.values():
            file = reader.where(tensor_name)
            if is_url(file):
                raise InvalidRequestError(
                    f"offload='disk' reads weights from files on this machine, and these are at {file}. Download them, "
                    "or leave offload out."
                )
            if file not in self._states:
                self._states[file] = _FileState.of(file)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle has the weights themselves; the copy that is made of it needs no files."""
        return type(None), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "DiskWeights":
        return self

    def weight(self, name: str) -> nn.Parameter:
        """A weight of the model.

        Raises:
            CheckpointError: it cannot be read, is not finite, or its file was changed.
            InvalidRequestError: another weight was changed in place.
        """
        self._held.turn_to(group_of(name))
        if name in self._held.weights:
            return self._held.weights[name]
        tensor_name, source = self._sources[name]
        # What is made in inference mode could never take part in a backward pass.
        with torch.inference_mode(False), torch.no_grad():
            tensor = self._held.tensors.get(tensor_name)
            if tensor is None:
                with self._checked(tensor_name), memory_of_its_own():
                    tensor = self._reader.read(tensor_name, dtype=self.dtype, device=self.device)
                self._held.tensors[tensor_name] = tensor
            weight = nn.Parameter(differentiable(source.convert(tensor)), requires_grad=False)
        self._held.add(name, weight)
        return weight

    def rows(self, name: str, ids: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes channels"]:
        """Rows of a matrix, such as the embeddings of some tokens. Only these are read, if the format allows it.

        Raises:
            CheckpointError: they cannot be read, are not finite, or the file was changed.
        """
        tensor_name, source = self._sources[name]
        if source.convert is not unchanged or not isinstance(self._reader, RowReader):
            return nn.functional.embedding(ids, self.weight(name))
        asked, places = ids.unique(return_inverse=True)
        with torch.inference_mode(False), torch.no_grad(), self._checked(tensor_name):
            table = self._reader.read_rows(tensor_name, asked.tolist(), dtype=self.dtype, device=self.device)
        return nn.functional.embedding(places.to(table.device), table)

    def let_go(self) -> None:
        """Hold nothing any more in this thread.

        Raises:
            InvalidRequestError: a weight was changed in place, and the change would be lost.
        """
        self._held.let_go()

    def drop(self) -> None:
        """As `let_go`, whatever became of the weights."""
        self._held.drop()

    def remembered(self, tensor: Tensor) -> "Tensor | _PartOfWeight":
        """What a graph keeps in the place of a tensor: of a weight, where to find it."""
        name = self._held.name_of_memory(tensor)
        if name is None or tensor.dtype != self.dtype:
            return tensor
        return _PartOfWeight(name, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def recalled(self, kept: "Tensor | _PartOfWeight") -> Tensor:
        """The tensor again, when a backward pass needs it."""
        if isinstance(kept, Tensor):
            return kept
        return self.weight(kept.name).as_strided(kept.shape, kept.stride, kept.offset)

    @contextmanager
    def _checked(self, tensor_name: str) -> Iterator[None]:
        file = self._reader.where(tensor_name)
        before = self._states[file]
        if before is not None and _FileState.of(file) != before:
            if not os.path.exists(file):
                raise CheckpointNotFoundError(f"{file} is gone, and the model reads its weights from it.", file=file)
            raise MalformedCheckpointError(
                f"{file} was changed since the model was opened, and the model reads its weights from it. Load the "
                "model again.",
                file=file,
            )
        with naming_the_tensor(self._reader):
            yield


@contextmanager
def weights_in_use(weights: DiskWeights | None, gradients: bool) -> Iterator[None]:
    """While a pass runs in this thread. Of weights on disk, nothing is held at its end, and its graph holds none.

    Args:
        weights: those on disk; None: all are in memory.
        gradients: whether the pass has a graph.

    Raises:
        InvalidRequestError: a weight was changed in place, and the change would be lost.
    """
    if weights is None:
        yield
        return
    try:
        if gradients:
            with torch.autograd.graph.saved_tensors_hooks(weights.remembered, weights.recalled):
                yield
        else:
            yield
    except BaseException:
        weights.drop()
        raise
    weights.let_go()


def group_of(name: str) -> str:
    """What a weight is held with: its layer; outside of the layers, itself alone."""
    kind, _, rest = name.partition(".")
    return f"{kind}.{rest.partition('.')[0]}" if kind == "blocks" else name


@dataclass(frozen=True)
class _PartOfWeight:
    """A tensor that is a weight or a part of one, by its place in the weight's memory."""

    name: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class _FileState:
    """What changes when a file is replaced or written to."""

    number: int
    n_bytes: int
    changed: int

    @classmethod
    def of(cls, file: str) -> "_FileState | None":
        """The file's state; None if it is not there, or not a file."""
        try:
            found = os.stat(file)
        except (OSError, ValueError):
            return None
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)
