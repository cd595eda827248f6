"""A GGUF file as a Hugging Face checkpoint: the same configuration and the same tensor names."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, naming_the_file, transformer_config
from neuron_explainer.models.checkpoints.checkpoint_format import CheckpointFormat, CheckpointSource, LoadOptions
from neuron_explainer.models.checkpoints.gguf_architectures.expert_tensors import with_experts_apart
from neuron_explainer.models.checkpoints.gguf_architectures.rope import ROTARY_TENSORS
from neuron_explainer.models.checkpoints.gguf_architectures.table import architecture_of
from neuron_explainer.models.checkpoints.gguf_architectures.weights import UNCHANGED
from neuron_explainer.models.checkpoints.gguf_config import config_from_gguf
from neuron_explainer.models.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.storage.local import is_local_file
from neuron_explainer.storage.locations import expanded


class GgufFormat(CheckpointFormat):
    """A `.gguf` file of a model of a known family."""

    name = "GGUF file"

    def matches(self, source: CheckpointSource, options: LoadOptions) -> bool:
        """An existing file whose name ends with .gguf."""
        path = expanded(source)
        return path.suffix.lower() == ".gguf" and is_local_file(path)

    def open(self, source: CheckpointSource, options: LoadOptions) -> Checkpoint:
        """See the base class."""
        return open_gguf_checkpoint(expanded(source), options.config)


def open_gguf_checkpoint(path: Path, config: Mapping[str, Any] | None = None) -> Checkpoint:
    """Describe the checkpoint in a GGUF file; its weights are not read yet.

    Args:
        path: the file.
        config: used instead of the file's own configuration.

    Raises:
        CheckpointError: the file is malformed, or its architecture is not supported.
    """
    file = GgufFile.open(path)
    hf_config = config_from_gguf(file, warns=True) if config is None else config
    described = transformer_config(hf_config, path)
    with naming_the_file(path):
        reader = GgufReader(file, hf_config)
    return Checkpoint(hf_config, described, lambda: reader, lambda: tokenizer_from_gguf(file))


class GgufReader:
    """The tensors of a GGUF file under Hugging Face's names; a `TensorReader`."""

    def __init__(self, file: GgufFile, hf_config: Mapping[str, Any] | None = None) -> None:
        """Find out which tensor is which.

        Args:
            file: the file.
            hf_config: the model's configuration; if None, the file's own.

        Raises:
            CheckpointError: the architecture or the configuration is not supported, or is invalid.
        """
        architecture = architecture_of(file)
        family, config = family_and_config(config_from_gguf(file) if hf_config is None else hf_config)
        file = with_experts_apart(file, config)
        shapes = {name: tensor.shape for name, tensor in file.tensors.items() if name not in ROTARY_TENSORS}
        placed = architecture.placed(family, config, shapes)
        used = {stored for stored, _ in placed.values()}
        unknown = {name: (name, UNCHANGED) for name in shapes if name not in used}
        self._file = file
        self._placed = {**placed, **unknown}

    def names(self) -> Collection[str]:
        """The names of all tensors."""
        return self._placed.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        stored, conversion = self._placed[name]
        return conversion.shape(self._file.tensors[stored].shape)

    def where(self, name: str | None = None) -> str:
        """The file."""
        return str(self._file.path)

    def stored_name(self, name: str) -> str:
        """The name in the file."""
        return self._placed[name][0] if name in self._placed else name

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor, dequantised, as it is in a Hugging Face checkpoint.

        Raises:
            CheckpointError: the tensor cannot be read, or is not finite.
        """
        stored, conversion = self._placed[name]
        precise = torch.float32 if conversion.in_float32 and dtype.itemsize < torch.float32.itemsize else dtype
        return conversion.convert(self._file.read(stored, dtype=precise, device=device)).to(dtype)

    def read_rows(
        self, name: str, rows: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "rows ..."]:
        """Some rows of a tensor. Errors are those of `read`."""
        stored, conversion = self._placed[name]
        if conversion is UNCHANGED:
            return self._file.read_rows(stored, rows, dtype=dtype, device=device)
        return self.read(name, dtype=dtype, device=device)[list(rows)]
