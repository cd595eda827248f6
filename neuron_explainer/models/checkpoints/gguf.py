"""A llama GGUF file as if it were a Hugging Face checkpoint: the same configuration and tensor names."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import UnsupportedCheckpointError
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, described
from neuron_explainer.models.checkpoints.gguf_config import ROTARY_FACTORS, config_from_gguf, size_stated
from neuron_explainer.models.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile

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


def open_gguf_checkpoint(path: Path, config: Mapping[str, Any] | None = None) -> Checkpoint:
    """Describe the checkpoint in a GGUF file; its weights are not read yet.

    Args:
        path: the file.
        config: in place of what the file says of its configuration.

    Raises:
        CheckpointError: the file is malformed, or holds a model of another architecture.
    """
    file = GgufFile.open(path)
    reader = GgufReader(file)
    hf_config = config_from_gguf(file) if config is None else config
    return Checkpoint(hf_config, described(hf_config, path), lambda: reader, lambda: tokenizer_from_gguf(file))


class GgufReader:
    """The tensors of a llama GGUF file under Hugging Face's names; a `TensorReader`."""

    def __init__(self, file: GgufFile) -> None:
        architecture = file.metadata.get("general.architecture")
        if architecture not in ARCHITECTURES:
            raise UnsupportedCheckpointError(
                f"{file.path} holds a model of architecture {architecture!r}; of GGUF files, "
                f"{', '.join(map(repr, ARCHITECTURES))} is supported. Load the model from its safetensors files.",
                file=file.path,
            )
        self._file = file
        self._gguf_name_by_name = {hugging_face_name(name): name for name in file.names() if name != ROTARY_FACTORS}

    def names(self) -> Collection[str]:
        """All tensors that there are."""
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
        """A tensor's numbers, dequantised; queries' and keys' rows in Hugging Face's order.

        Raises:
            CheckpointError: they cannot be read, or are not finite.
        """
        tensor = self._file.read(self._gguf_name_by_name[name], dtype=dtype, device=device)
        part = name.split(".")[-2]
        if part in ("q_proj", "k_proj"):
            n_heads = size_stated(self._file, "llama.attention.head_count")
            if part == "k_proj":
                n_heads = size_stated(self._file, "llama.attention.head_count_kv", n_heads)
            return rotary_halves_from_pairs(tensor, n_heads)
        return tensor


def hugging_face_name(gguf_name: str) -> str:
    """A llama tensor's name in Hugging Face's checkpoints; a name of no known tensor stays as it is."""
    if match := _LAYER_TENSOR.fullmatch(gguf_name):
        layer, part, kind = match.groups()
        if part in _PART_BY_GGUF_PART:
            return f"model.layers.{layer}.{_PART_BY_GGUF_PART[part]}.{kind}"
    return _NAME_OUTSIDE_LAYERS.get(gguf_name, gguf_name)


def rotary_halves_from_pairs(weight: Float[Tensor, "rows ..."], n_heads: int) -> Float[Tensor, "rows ..."]:
    """Bring the rows of a query or key weight from llama.cpp's order into Hugging Face's.

    The rotary embedding turns pairs of channels. llama.cpp stores a head's pairs as neighbours (0, 1), (2, 3), …;
    Hugging Face has a pair's two channels half a head apart. Left as it is, a model still answers many prompts well,
    because only what depends on positions suffers.

    Args:
        weight: one row (or one bias) for each channel of each head, heads one after the other.
        n_heads: how many heads these are.
    """
    by_pair = weight.view(n_heads, weight.shape[0] // n_heads // 2, 2, *weight.shape[1:])
    return by_pair.transpose(1, 2).reshape(weight.shape)
