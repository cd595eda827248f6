"""A checkpoint, of whatever kind: a configuration, tensors that are read when asked for, and a tokenizer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import (
    CheckpointError,
    MalformedCheckpointError,
    MisconfiguredError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.layers.mlp import ACTIVATION_FUNCTIONS
from neuron_explainer.models.tensor_files.tensor_reader import TensorReader
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig


@dataclass(frozen=True)
class Checkpoint:
    """What a model can be made of.

    Attributes:
        hf_config: the configuration, as a Hugging Face `config.json` says it.
        config: what that means for this library's transformer.
        open_tensors: finds the weights, under Hugging Face's names; they may be fetched for that, but are not read.
        read_tokenizer: reads the tokenizer that comes with the checkpoint.
    """

    hf_config: Mapping[str, Any]
    config: TransformerConfig
    open_tensors: Callable[[], TensorReader]
    read_tokenizer: Callable[[], ModelTokenizer]

    def create_transformer(self, *, dtype: torch.dtype, device: torch.device) -> Transformer:
        """A model with this checkpoint's weights, which are read one by one.

        All names and shapes are looked at before the first weight is read, so what does not fit is known at once.
        Beside the model's own weights no more than one tensor is in memory.

        Raises:
            CheckpointError: tensors are missing, unexpected, misshapen, unreadable or not finite; the error names the
                file and the tensor.
        """
        reader = self.open_tensors()
        try:
            Transformer.from_hf_config_and_tensors(self.hf_config, _Shapes(reader))
            return Transformer.from_hf_config_and_tensors(self.hf_config, _Numbers(reader, dtype, device))
        except CheckpointError as error:
            if error.file is not None:
                raise
            file = reader.where(error.tensor)
            stored_name = error.tensor if error.tensor is None else reader.stored_name(error.tensor)
            alias = "" if stored_name == error.tensor else f" ({error.tensor!r} is {stored_name!r} in the file.)"
            raise type(error)(f"{file}: {error}{alias}", file=file, tensor=stored_name) from error


def described(hf_config: Mapping[str, Any], file: object) -> TransformerConfig:
    """What a Hugging Face config means for this library's transformer.

    Args:
        hf_config: the configuration.
        file: where it was found, for errors.

    Raises:
        CheckpointError: its family or activation function is not supported, or an entry has a value that cannot be.
    """
    with naming_the_file(file):
        family = family_of(hf_config)
        try:
            config = family.config(hf_config)
        except CheckpointError:
            raise
        except (MisconfiguredError, TypeError, ValueError, AttributeError, KeyError, ZeroDivisionError) as error:
            raise MalformedCheckpointError(
                f"An entry has a value that no {family.model_type} model can have: {error}"
            ) from error
        if config.activation_function not in ACTIVATION_FUNCTIONS:
            raise UnsupportedCheckpointError(
                f"There is no activation function {config.activation_function!r} here. There is: "
                f"{', '.join(ACTIVATION_FUNCTIONS)}."
            )
        return config


@contextmanager
def naming_the_file(file: object) -> Iterator[None]:
    """Let a checkpoint's error that names no file name this one."""
    try:
        yield
    except CheckpointError as error:
        if error.file is not None:
            raise
        raise type(error)(f"{file}: {error}", file=file, tensor=error.tensor) from error


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
