"""The configuration of a llama GGUF file, as a Hugging Face config."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError, shown
from neuron_explainer.models.families.config_entries import MOST_POSITIONS
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.vocabulary.checks import finite_number, whole_number

ROTARY_FACTORS = "rope_freqs.weight"
"""The tensor with the factors by which Llama 3 stretches the wavelengths of the rotary embedding, one per pair."""


def config_from_gguf(file: GgufFile) -> dict[str, Any]:
    """The configuration of a llama GGUF file, with the entries of a Hugging Face `config.json`.

    Raises:
        MalformedCheckpointError: a size that every llama file has is missing or invalid.
        UnsupportedCheckpointError: the model is a mixture of experts, or its rotary embedding is not supported.
    """
    n_heads = size_entry(file, "llama.attention.head_count")
    d_model = size_entry(file, "llama.embedding_length")
    d_head = size_entry(file, "llama.attention.key_length", d_model // n_heads)
    n_rotary_channels = size_entry(file, "llama.rope.dimension_count", d_head)
    if n_rotary_channels != d_head:
        raise UnsupportedCheckpointError(
            f"{file.path} rotates {n_rotary_channels} of each head's {d_head} channels; it must rotate all of them.",
            file=file.path,
        )
    if file.metadata.get("llama.expert_count", 0):
        raise UnsupportedCheckpointError(
            f"{file.path} is a mixture of experts, which is not supported.", file=file.path
        )
    return {
        "model_type": "llama",
        "num_hidden_layers": size_entry(file, "llama.block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": size_entry(file, "llama.attention.head_count_kv", n_heads),
        "hidden_size": d_model,
        "head_dim": d_head,
        "intermediate_size": size_entry(file, "llama.feed_forward_length"),
        "max_position_embeddings": size_entry(file, "llama.context_length"),
        "rms_norm_eps": _number(file, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _number(file, "llama.rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(file, d_head),
        "hidden_act": "silu",
        "vocab_size": _embedding_shape(file)[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_down.bias" in file.tensors,
        "eos_token_id": _end_tokens(file),
    }


def _end_tokens(file: GgufFile) -> list[Any] | None:
    """The tokens at which llama.cpp stops: the end of a text, of a turn, and of a message."""
    ends = [file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
    return [end for end in ends if end is not None] or None


def _rope_scaling(file: GgufFile, d_head: int) -> dict[str, Any] | None:
    kind = file.metadata.get("llama.rope.scaling.type", "none")
    if kind == "linear":
        return {"rope_type": "linear", "factor": _number(file, "llama.rope.scaling.factor")}
    if kind != "none":
        raise UnsupportedCheckpointError(
            f"{file.path}: rope scaling {shown(kind)} is not supported; 'linear' and Llama 3's are.",
            file=file.path,
        )
    return _llama_3_scaling(file, d_head) if ROTARY_FACTORS in file.tensors else None


def _llama_3_scaling(file: GgufFile, d_head: int) -> dict[str, Any]:
    """Llama 3's constants, found from the factors that the file holds.

    A file holds the factor of each wavelength, not the constants that it was computed from. All Llama 3 models have the
    same constants except `factor`, which is the factor of the longest wavelength.
    """
    if file.tensors[ROTARY_FACTORS].shape != (d_head // 2,):
        raise _not_llama_3(file)
    stored = file.read(ROTARY_FACTORS, dtype=torch.float32, device=torch.device("cpu"))
    scaling = {
        "rope_type": "llama3",
        "factor": round(float(stored.max()), 3),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    expected = llama_3_stretch(scaling, base=_number(file, "llama.rope.freq_base", 10000.0), n_channels=d_head)
    if stored.shape != expected.shape or not torch.allclose(stored, expected, rtol=1e-3):
        raise _not_llama_3(file)
    return scaling


def _not_llama_3(file: GgufFile) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(
        f"{file.path}: tensor {ROTARY_FACTORS!r} does not follow Llama 3's rule for the rotary embedding; no other "
        "rule is supported.",
        file=file.path,
        tensor=ROTARY_FACTORS,
    )


def llama_3_stretch(scaling: dict[str, Any], *, base: float, n_channels: int) -> Float[Tensor, " pairs"]:
    """The factor by which Llama 3's rule stretches each pair's wavelength.

    Wavelengths above original / low_freq_factor are stretched by `factor`; those below original / high_freq_factor are
    kept. Between the two, the frequency is interpolated linearly in original / wavelength.
    """
    factor, original = scaling["factor"], scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    exponents = torch.arange(0, n_channels, 2, dtype=torch.float64, device="cpu") / n_channels
    wavelengths = 2 * math.pi * base**exponents
    unstretched_share = ((original / wavelengths - low) / (high - low)).clamp(0, 1)
    return (1 / (unstretched_share + (1 - unstretched_share) / factor)).to(torch.float32)


def _embedding_shape(file: GgufFile) -> tuple[int, ...]:
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise MalformedCheckpointError(f"{file.path} has no matrix 'token_embd.weight'.", file=file.path)
    return embedding.shape


def size_entry(file: GgufFile, key: str, default: int | None = None) -> int:
    """A size in a file's metadata, or the default.

    Raises:
        MalformedCheckpointError: the entry is missing and has no default, or is not a whole number above 0.
    """
    value = _required(file, key, default)
    number = whole_number(value)
    if number is None or not 1 <= number <= MOST_POSITIONS:
        raise MalformedCheckpointError(
            f"{file.path}: {key} is {shown(value)}; it must be 1 or more, at most {MOST_POSITIONS}.", file=file.path
        )
    return number


def _number(file: GgufFile, key: str, default: float | None = None) -> float:
    value = _required(file, key, default)
    number = finite_number(value)
    if number is None or number <= 0:
        raise MalformedCheckpointError(f"{file.path}: {key} is {shown(value)}; it must be above 0.", file=file.path)
    return number


def _required(file: GgufFile, key: str, default: Any = None) -> Any:
    value = file.metadata.get(key, default)
    if value is None:
        raise MalformedCheckpointError(f"{file.path} has no entry {key!r}; every llama file needs it.", file=file.path)
    return value
