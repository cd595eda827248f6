"""A checkpoint, of whatever kind: a configuration, tensors that are read when asked for, and a tokenizer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import CheckpointError
from neuron_explainer.models.tensor_reader import TensorReader
from neuron_explainer.models.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer


@dataclass(frozen=True)
class Checkpoint:
    """What a model can be made of.

    Attributes:
        hf_config: the configuration, as a Hugging Face `config.json` says it.
        tensors: the weights, under Hugging Face's names.
        read_tokenizer: reads the tokenizer that comes with the checkpoint.
    """

    hf_config: Mapping[str, Any]
    tensors: TensorReader
    read_tokenizer: Callable[[], ModelTokenizer]

    def create_transformer(self, *, dtype: torch.dtype, device: torch.device) -> Transformer:
        """A model with this checkpoint's weights, which are read one by one.

        All names and shapes are looked at before the first weight is read, so what does not fit is known at once.
        Beside the model's own weights no more than one tensor is in memory.

        Raises:
            CheckpointError: tensors are missing, unexpected, misshapen, unreadable or not finite; the error names the
                file and the tensor.
        """
        with _naming_the_file(self.tensors):
            Transformer.from_hf_config_and_tensors(self.hf_config, _Shapes(self.tensors))
            return Transformer.from_hf_config_and_tensors(self.hf_config, _Numbers(self.tensors, dtype, device))


class _Tensors(Mapping[str, Tensor]):
    """A reader's tensors by name."""

    def __init__(self, reader: TensorReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.names())

    def __len__(self) -> int:
        return len(self._reader.names())

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        raise KeyError(name)


class _Shapes(_Tensors):
    """The tensors' shapes alone, as tensors that have no memory."""

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        return torch.empty(self._reader.shape(name), device="meta")


class _Numbers(_Tensors):
    """The tensors, each read when it is asked for."""

    def __init__(self, reader: TensorReader, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(reader)
        self._dtype, self._device = dtype, device

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        return self._reader.read(name, dtype=self._dtype, device=self._device)


@contextmanager
def _naming_the_file(reader: TensorReader) -> Iterator[None]:
    """Let errors that know a tensor alone say which file is meant, and how the file itself calls the tensor."""
    try:
        yield
    except CheckpointError as error:
        if error.file is not None:
            raise
        file = reader.where(error.tensor)
        stored_name = error.tensor if error.tensor is None else reader.stored_name(error.tensor)
        alias = "" if stored_name == error.tensor else f" (In the file, {error.tensor!r} is called {stored_name!r}.)"
        raise type(error)(f"{file}: {error}{alias}", file=file, tensor=stored_name) from error
