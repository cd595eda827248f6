"""A llama GGUF file as a Hugging Face checkpoint: the same configuration and the same tensor names."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import TensorShapeError, UnsupportedCheckpointError, shown
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, transformer_config
from neuron_explainer.models.checkpoints.checkpoint_format import CheckpointFormat, CheckpointSource, LoadOptions
from neuron_explainer.models.checkpoints.gguf_config import ROTARY_FACTORS, config_from_gguf, size_entry
from neuron_explainer.models.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.storage.local import is_local_file
from neuron_explainer.storage.locations import expanded

ARCHITECTURES = ("llama",)

_NAME_OUTSIDE_LAYERS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_PART_BY_GGUF_PART = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


class GgufFormat(CheckpointFormat):
    """A `.gguf` file of a llama model."""

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
    reader = GgufReader(file)
    hf_config = config_from_gguf(file) if config is None else config
    return Checkpoint(hf_config, transformer_config(hf_config, path), lambda: reader, lambda: tokenizer_from_gguf(file))


class GgufReader:
    """The tensors of a llama GGUF file under Hugging Face's names; a `TensorReader`."""

    def __init__(self, file: GgufFile) -> None:
        architecture = file.metadata.get("general.architecture")
        if architecture not in ARCHITECTURES:
            raise UnsupportedCheckpointError(
                f"{file.path} has the architecture {shown(architecture)}. Supported in GGUF "
                f"files: {', '.join(map(repr, ARCHITECTURES))}. Load the model from its safetensors files.",
                file=file.path,
            )
        self._file = file
        self._gguf_name_by_name = {hugging_face_name(name): name for name in file.names() if name != ROTARY_FACTORS}

    def names(self) -> Collection[str]:
        """The names of all tensors."""
        return self._gguf_name_by_name.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._file.tensors[self._gguf_name_by_name[name]].shape

    def where(self, name: str | None = None) -> str:
        """The file."""
        return str(self._file.path)

    def stored_name(self, name: str) -> str:
        """The name in the file."""
        return self._gguf_name_by_name.get(name, name)

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor, dequantised; the rows of queries and keys are in Hugging Face's order.

        Raises:
            CheckpointError: the tensor cannot be read, or is not finite.
        """
        tensor = self._file.read(self._gguf_name_by_name[name], dtype=dtype, device=device)
        part = name.split(".")[-2]
        if part in ("q_proj", "k_proj"):
            n_heads = size_entry(self._file, "llama.attention.head_count")
            if part == "k_proj":
                n_heads = size_entry(self._file, "llama.attention.head_count_kv", n_heads)
            return rotary_halves_from_pairs(tensor, n_heads)
        return tensor

    def read_rows(
        self, name: str, rows: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "rows ..."]:
        """Some rows of the embedding, whose rows are in the same order here.

        Raises:
            CheckpointError: they cannot be read, or are not finite.
        """
        return self._file.read_rows(self._gguf_name_by_name[name], rows, dtype=dtype, device=device)


def hugging_face_name(gguf_name: str) -> str:
    """A llama tensor's name in Hugging Face's checkpoints; an unknown name is returned unchanged."""
    if match := _LAYER_TENSOR.fullmatch(gguf_name):
        layer, part, kind = match.groups()
        if part in _PART_BY_GGUF_PART:
            return f"model.layers.{layer}.{_PART_BY_GGUF_PART[part]}.{kind}"
    return _NAME_OUTSIDE_LAYERS.get(gguf_name, gguf_name)


def rotary_halves_from_pairs(weight: Float[Tensor, "rows ..."], n_heads: int) -> Float[Tensor, "rows ..."]:
    """Reorder the rows of a query or key weight from llama.cpp's order to Hugging Face's.

    The rotary embedding rotates pairs of channels. llama.cpp stores a head's pairs side by side: (0, 1), (2, 3), …;
    Hugging Face stores a pair's two channels half a head apart. In the wrong order a model still answers many prompts
    well, because only the dependence on positions is wrong.

    Args:
        weight: one row (or one bias) for each channel of each head, head after head.
        n_heads: the number of heads.

    Raises:
        TensorShapeError: the rows do not fit the heads.
    """
    if weight.shape[0] % (2 * n_heads):
        raise TensorShapeError(f"{weight.shape[0]} rows are not pairs of channels of {n_heads} heads.")
    by_pair = weight.view(n_heads, weight.shape[0] // n_heads // 2, 2, *weight.shape[1:])
    return by_pair.transpose(1, 2).reshape(weight.shape)
