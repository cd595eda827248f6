"""A checkpoint in any format: a configuration, tensors that are read on demand, and a tokenizer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import CheckpointError
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.families.unread_entries import unknown_entries_are_said
from neuron_explainer.models.offload.offloaded import offloaded_transformer
from neuron_explainer.models.tensor_files.tensor_reader import TensorReader, naming_the_tensor
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig


@dataclass(frozen=True)
class Checkpoint:
    """What a model is made from.

    Attributes:
        hf_config: the configuration, with the entries of a Hugging Face `config.json`.
        config: the same for this library's transformer; `transformer_config` makes it.
        open_tensors: finds the weights, under Hugging Face's names. It may download them, but does not read them.
        read_tokenizer: reads the tokenizer that comes with the checkpoint.
        generation_config: the entries of a Hugging Face `generation_config.json`; empty if there is none.
        is_here: whether the weights are on this machine; otherwise `open_tensors` downloads them.
    """

    hf_config: Mapping[str, Any]
    config: TransformerConfig
    open_tensors: Callable[[], TensorReader]
    read_tokenizer: Callable[[], ModelTokenizer]
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    is_here: bool = True

    @unknown_entries_are_said()
    def check_tensors(self) -> None:
        """Check the tensors' names and shapes; nothing is read.

        Raises:
            CheckpointError: tensors are missing, unexpected or misshapen.
        """
        reader = self.open_tensors()
        with naming_the_tensor(reader):
            Transformer.from_hf_config_and_tensors(self.hf_config, _Shapes(reader))

    @unknown_entries_are_said()
    def create_transformer(
        self, *, dtype: torch.dtype, device: torch.device, is_offloaded: bool = False
    ) -> Transformer:
        """A model with this checkpoint's weights, which are read one by one.

        All names and shapes are checked before the first weight is read. Beside the model's own weights, at most one
        tensor is in memory.

        Args:
            dtype: the dtype of weights and activations.
            device: where the model computes.
            is_offloaded: leave the weights in their files, and read each when it is used.

        Raises:
            CheckpointError: tensors are missing, unexpected, misshapen, unreadable or not finite; the error names the
                file and the tensor.
            InvalidRequestError: weights that are not in files on this machine are to stay there.
        """
        reader = self.open_tensors()
        with naming_the_tensor(reader):
            Transformer.from_hf_config_and_tensors(self.hf_config, _Shapes(reader))
            tensors = _Loaded(reader, dtype, device)
            if is_offloaded:
                return offloaded_transformer(self.hf_config, tensors, reader, dtype=dtype, device=device)
            return Transformer.from_hf_config_and_tensors(self.hf_config, tensors)


def transformer_config(hf_config: Mapping[str, Any], file: object) -> TransformerConfig:
    """This library's config for a Hugging Face config.

    Args:
        hf_config: the configuration.
        file: where it was found, for errors.

    Raises:
        CheckpointError: the family or the activation function is not supported, or an entry has an invalid value.
    """
    with naming_the_file(file):
        return family_and_config(hf_config)[1]


@contextmanager
def naming_the_file(file: object) -> Iterator[None]:
    """Add the file to a checkpoint error that names no file."""
    try:
        yield
    except CheckpointError as error:
        if error.file is not None:
            raise
        raise type(error)(f"{file}: {error}", file=file, tensor=error.tensor) from error


class _Tensors(Mapping[str, Tensor]):
    """A reader's tensors, by name."""

    def __init__(self, reader: TensorReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.names())

    def __len__(self) -> int:
        return len(self._reader.names())

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        raise KeyError(name)


class _Shapes(_Tensors):
    """The tensors' shapes: tensors without data, on the meta device."""

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        return torch.empty(self._reader.shape(name), dtype=torch.float32, device="meta")


class _Loaded(_Tensors):
    """The tensors, each read when it is looked up."""

    def __init__(self, reader: TensorReader, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(reader)
        self._dtype, self._device = dtype, device

    def __getitem__(self, name: str) -> Float[Tensor, "..."]:
        return self._reader.read(name, dtype=self._dtype, device=self._device)
