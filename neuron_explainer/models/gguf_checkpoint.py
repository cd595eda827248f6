"""A llama GGUF file as if it were a Hugging Face checkpoint: the same configuration and tensor names."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.models.checkpoint import Checkpoint, described
from neuron_explainer.models.gguf_file import GgufFile
from neuron_explainer.models.gguf_tokenizer import tokenizer_from_gguf

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
_ROTARY_FACTORS = "rope_freqs.weight"


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
        self._gguf_name_by_name = {hugging_face_name(name): name for name in file.names() if name != _ROTARY_FACTORS}

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
            n_heads = _size(self._file, "llama.attention.head_count")
            if part == "k_proj":
                n_heads = _size(self._file, "llama.attention.head_count_kv", n_heads)
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


def config_from_gguf(file: GgufFile) -> dict[str, Any]:
    """The configuration of a llama GGUF file, as Hugging Face's `config.json` would say it.

    Raises:
        MalformedCheckpointError: a size that every llama file states is missing.
        UnsupportedCheckpointError: its rotary embedding is stretched in a way that is not supported.
    """
    n_heads = _size(file, "llama.attention.head_count")
    d_model = _size(file, "llama.embedding_length")
    d_head = _size(file, "llama.attention.key_length", d_model // n_heads)
    n_rotary_channels = _size(file, "llama.rope.dimension_count", d_head)
    if n_rotary_channels != d_head:
        raise UnsupportedCheckpointError(
            f"{file.path} turns {n_rotary_channels} of each head's {d_head} channels by position; llama turns all.",
            file=file.path,
        )
    if file.metadata.get("llama.expert_count", 0):
        raise UnsupportedCheckpointError(
            f"{file.path} is a mixture of experts, which is not supported.", file=file.path
        )
    return {
        "model_type": "llama",
        "num_hidden_layers": _size(file, "llama.block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": _size(file, "llama.attention.head_count_kv", n_heads),
        "hidden_size": d_model,
        "head_dim": d_head,
        "intermediate_size": _size(file, "llama.feed_forward_length"),
        "max_position_embeddings": _size(file, "llama.context_length"),
        "rms_norm_eps": _number(file, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _number(file, "llama.rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(file, d_head),
        "hidden_act": "silu",
        "vocab_size": _embedding_shape(file)[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_down.bias" in file.tensors,
        "eos_token_id": file.metadata.get("tokenizer.ggml.eos_token_id"),
    }


def _rope_scaling(file: GgufFile, d_head: int) -> dict[str, Any] | None:
    kind = file.metadata.get("llama.rope.scaling.type", "none")
    if kind == "linear":
        return {"rope_type": "linear", "factor": _number(file, "llama.rope.scaling.factor")}
    if kind != "none":
        raise UnsupportedCheckpointError(
            f"{file.path}: its rotary embedding follows the rule {kind!r}; supported are 'linear' and Llama 3's.",
            file=file.path,
        )
    return _llama_3_scaling(file, d_head) if _ROTARY_FACTORS in file.tensors else None


def _llama_3_scaling(file: GgufFile, d_head: int) -> dict[str, Any]:
    """Llama 3's constants, recognised by the factors that the file holds in their place.

    A file holds what each wavelength is stretched by, not the constants that this was computed from; these are the same
    in all Llama 3 models but for the factor itself, which the longest wavelength shows.
    """
    stored = file.read(_ROTARY_FACTORS, dtype=torch.float32, device=torch.device("cpu"))
    scaling = {
        "rope_type": "llama3",
        "factor": round(float(stored.max()), 3),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    expected = llama_3_stretch(scaling, base=_number(file, "llama.rope.freq_base", 10000.0), n_channels=d_head)
    if stored.shape != expected.shape or not torch.allclose(stored, expected, rtol=1e-3):
        raise UnsupportedCheckpointError(
            f"{file.path}: tensor {_ROTARY_FACTORS!r} stretches the rotary embedding in another way than Llama 3 does, "
            "and no other is supported.",
            file=file.path,
            tensor=_ROTARY_FACTORS,
        )
    return scaling


def llama_3_stretch(scaling: dict[str, Any], *, base: float, n_channels: int) -> Float[Tensor, "pairs"]:
    """What Llama 3's rule stretches each pair's wavelength by.

    Wavelengths above original/low_freq_factor are stretched by `factor`, those below original/high_freq_factor not at
    all; between, the frequency runs linearly in original/wavelength from the one to the other.
    """
    factor, original = scaling["factor"], scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    exponents = torch.arange(0, n_channels, 2, dtype=torch.float64) / n_channels
    wavelengths = 2 * math.pi * base**exponents
    unstretched_share = ((original / wavelengths - low) / (high - low)).clamp(0, 1)
    return (1 / (unstretched_share + (1 - unstretched_share) / factor)).to(torch.float32)


def _embedding_shape(file: GgufFile) -> tuple[int, ...]:
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise MalformedCheckpointError(f"{file.path} has no matrix 'token_embd.weight'.", file=file.path)
    return embedding.shape


def _size(file: GgufFile, key: str, default: int | None = None) -> int:
    value = _required(file, key, default)
    if not isinstance(value, int) or value < 1:
        raise MalformedCheckpointError(f"{file.path}: {key} is {value!r}; it must be 1 or more.", file=file.path)
    return value


def _number(file: GgufFile, key: str, default: float | None = None) -> float:
    value = _required(file, key, default)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise MalformedCheckpointError(f"{file.path}: {key} is {value!r}; it must be above 0.", file=file.path)
    return value


def _required(file: GgufFile, key: str, default: Any = None) -> Any:
    value = file.metadata.get(key, default)
    if value is None:
        raise MalformedCheckpointError(f"{file.path} does not state {key!r}; every llama file does.", file=file.path)
    return value
