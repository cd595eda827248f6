"""GGUF files of small models of every family, written as llama.cpp's converter would.

The names of tensors are the `gguf` package's. What the converter does to numbers, and which entries it writes, is said
here once more, independently of the library.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

from helpers import gguf_experts
from helpers.checkpoints import VOCAB_SIZE, in_llama_cpp_order
from helpers.gguf_files import KINDS, add_byte_level_vocabulary, add_entry
from helpers.installed_transformers import model_of

_SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "vocab_size": VOCAB_SIZE,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 319,
    "pad_token_id": None,
}
_WITH_HEADS = {**_SIZES, "head_dim": 16}
_GPT2 = {"n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 64, "vocab_size": VOCAB_SIZE, "eos_token_id": 319}
_BY_TYPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0},
}
_YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16}
_SLIDING, _FULL = "sliding_attention", "full_attention"

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_SIZES, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "mistral": {"model_type": "mistral", **_WITH_HEADS, "sliding_window": None},
    "ministral3": {
        "model_type": "ministral3", **_WITH_HEADS,
        "rope_parameters": {
            **_YARN, "factor": 16.0, "original_max_position_embeddings": 4, "beta_fast": 4.0, "beta_slow": 0.5,
            "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3,
        },
    },
    "smollm3": {"model_type": "smollm3", **_SIZES, "num_hidden_layers": 5},
    "granite": {
        "model_type": "granite", **_SIZES, "embedding_multiplier": 3.0, "attention_multiplier": 0.2,
        "residual_multiplier": 0.6, "logits_scaling": 2.5,
    },
    "qwen2": {"model_type": "qwen2", **_SIZES},
    "qwen2_yarn": {
        "model_type": "qwen2", **_SIZES, "hidden_size": 96,
        "rope_parameters": {
            **_YARN, "original_max_position_embeddings": 32, "beta_fast": 1.0, "beta_slow": 0.25,
            "attention_factor": 1.3,
        },
    },
    "qwen3": {"model_type": "qwen3", **_WITH_HEADS, "tie_word_embeddings": True},
    "gemma2": {
        "model_type": "gemma2", **_WITH_HEADS, "sliding_window": 5, "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0,
    },
    "gemma3": {
        "model_type": "gemma3_text", **_WITH_HEADS, "num_hidden_layers": 7, "sliding_window": 5,
        "query_pre_attn_scalar": 16, "rope_parameters": _BY_TYPE, "final_logit_softcapping": 3.0,
    },
    "olmo2": {"model_type": "olmo2", **_SIZES},
    "olmo3": {
        "model_type": "olmo3", **_SIZES, "sliding_window": 5, "layer_types": [_FULL, _SLIDING, _FULL],
        "rope_parameters": {_SLIDING: {"rope_type": "default", "rope_theta": 100.0}, _FULL: _YARN},
    },
    "phi3": {
        "model_type": "phi3", **_SIZES, "sliding_window": 7, "original_max_position_embeddings": 32,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 500.0, "short_factor": [1.0, 1.5, 2.0, 2.5],
            "long_factor": [2.0, 3.0, 4.0, 5.0], "original_max_position_embeddings": 32,
        },
    },
    "phi4_mini": {
        "model_type": "phi3", **_SIZES, "partial_rotary_factor": 0.75, "tie_word_embeddings": True,
        "original_max_position_embeddings": 64, "sliding_window": None,
    },
    "glm4": {"model_type": "glm4", **_WITH_HEADS, "attention_bias": True},
    "stablelm": {"model_type": "stablelm", **_SIZES, "use_qkv_bias": True},
    "stablelm_parallel": {"model_type": "stablelm", **_SIZES, "use_parallel_residual": True},
    "starcoder2": {"model_type": "starcoder2", **_SIZES, "sliding_window": None},
    "cohere": {"model_type": "cohere", **_SIZES, "use_qk_norm": True, "logit_scale": 0.5},
    "cohere2": {"model_type": "cohere2", **_SIZES, "num_hidden_layers": 5, "sliding_window": 5, "logit_scale": 0.5},
    "gpt2": {"model_type": "gpt2", **_GPT2},
    "gpt_neox": {"model_type": "gpt_neox", **_SIZES, "rotary_pct": 0.5},
    "gpt_neox_sequential": {"model_type": "gpt_neox", **_SIZES, "use_parallel_residual": False},
    "falcon": {"model_type": "falcon", **_SIZES},
    "falcon_two_norms": {"model_type": "falcon", **_SIZES, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon_one_norm": {
        "model_type": "falcon", **_SIZES, "new_decoder_architecture": True, "num_kv_heads": 2,
        "num_ln_in_parallel_attn": 1,
    },
    "phi": {"model_type": "phi", **_SIZES},
    "mixtral": {
        "model_type": "mixtral", **_SIZES, "intermediate_size": 20, "num_local_experts": 5, "num_experts_per_tok": 2,
    },
    "mixtral_window": {
        "model_type": "mixtral", **_WITH_HEADS, "intermediate_size": 20, "num_local_experts": 3,
        "num_experts_per_tok": 1, "sliding_window": 7,
    },
    "qwen3_moe": {
        "model_type": "qwen3_moe", **_WITH_HEADS, "moe_intermediate_size": 12, "num_experts": 7,
        "num_experts_per_tok": 3, "norm_topk_prob": True, "tie_word_embeddings": True,
    },
    "olmoe": {
        "model_type": "olmoe", **_SIZES, "intermediate_size": 20, "num_experts": 6, "num_experts_per_tok": 3,
        "rms_norm_eps": 1e-5,
    },
    "gpt_oss": {
        "model_type": "gpt_oss", **_WITH_HEADS, "intermediate_size": 20, "num_local_experts": 5,
        "num_experts_per_tok": 2, "sliding_window": 7, "rope_parameters": {**_YARN, "truncate": False},
    },
}  # fmt: skip
"""A config for each architecture, and for each variant that takes a path of its own."""

ARCHITECTURE_BY_TYPE = {
    "mistral": "llama", "ministral3": "mistral3", "gemma3_text": "gemma3", "olmo3": "olmo2", "cohere": "command-r",
    "gpt_neox": "gptneox", "phi": "phi2", "mixtral": "llama", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss",
}  # fmt: skip
_REORDERED = ("llama", "mistral3", "smollm3", "granite")
_FACTORS_OF_FOUR = ("gpt2", "phi2", "falcon")


def random_model(name: str, **changes: Any) -> transformers.PreTrainedModel:
    """A model of `CONFIGS`, with changes; all of its numbers are random, gains and biases too."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**{**CONFIGS[name], **changes})
    config._experts_implementation = "eager"  # the default does not take odd sizes
    model = model_of(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def write_family(
    path: Path,
    model: transformers.PreTrainedModel,
    *,
    kind: gguf.GGMLQuantizationType = KINDS.F32,
    pre_tokenizer: str = "gpt-2",
    extra: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a model, with the byte-level vocabulary.

    Args:
        path: the file.
        model: the model.
        kind: how matrices are stored; vectors are in float32.
        pre_tokenizer: the rule by which the tokenizer splits text.
        extra: more entries, without the architecture's name.
        tensors: used instead of the model's. Bytes are MXFP4's.
    """
    model_type = model.config.model_type
    architecture = ARCHITECTURE_BY_TYPE.get(model_type, model_type)
    writer = gguf.GGUFWriter(path, architecture)
    add_byte_level_vocabulary(writer, pre_tokenizer)
    for key, value in {**dict(entries_of(architecture, model.config)), **(extra or {})}.items():
        add_entry(writer, f"{architecture}.{key}", value)
    for name, rows in (tensors or tensors_of(architecture, model)).items():
        stored = KINDS.F32 if rows.ndim == 1 or "norm" in name or name.endswith("bias") else kind
        if rows.dtype == np.uint8:
            writer.add_tensor(name, rows, raw_dtype=KINDS.MXFP4)
        else:
            writer.add_tensor(name, gguf.quantize(rows, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def entries_of(architecture: str, config: Any) -> Iterator[tuple[str, Any]]:
    """The entries that the converter writes for a config."""
    d_model, n_heads = config.hidden_size, config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    everywhere = rope.get(_FULL, rope)
    yield "block_count", config.num_hidden_layers
    yield "context_length", config.max_position_embeddings
    yield "embedding_length", d_model
    yield "vocab_size", config.vocab_size
    yield "attention.head_count", n_heads
    n_inner = 4 * d_model if architecture in _FACTORS_OF_FOUR else config.intermediate_size
    yield "feed_forward_length", n_inner
    if architecture == "falcon":
        shared = config.num_kv_heads if config.new_decoder_architecture else 1
        yield "attention.head_count_kv", shared
    elif architecture not in ("gpt2", "gptneox"):
        yield "attention.head_count_kv", config.num_key_value_heads
    has_heads = getattr(config, "head_dim", None) is not None and architecture not in ("granite", "falcon")
    d_head = config.head_dim if has_heads else d_model // n_heads
    if has_heads:
        yield "attention.key_length", d_head
        yield "attention.value_length", d_head
    for kind, names in {
        "layer_norm_rms": ("rms_norm_eps",),
        "layer_norm": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
    }.items():
        for value in [getattr(config, name) for name in names if getattr(config, name, None) is not None][:1]:
            yield f"attention.{kind}_epsilon", value
    if everywhere and architecture not in ("stablelm", "phi2", "falcon", "gptneox", "gemma2"):
        yield "rope.freq_base", everywhere["rope_theta"]
    share = everywhere.get("partial_rotary_factor")
    if share is not None and architecture in ("gptneox", "stablelm", "phi2", "phi3", "glm4"):
        yield "rope.dimension_count", int(share * d_head)
    elif architecture in (*_REORDERED, "cohere2"):
        yield "rope.dimension_count", d_head
    yield from _scaling_of(architecture, everywhere)
    if _SLIDING in rope:
        yield "rope.freq_base_swa", rope[_SLIDING]["rope_theta"]
    yield from _special_entries_of(architecture, config)
    yield from gguf_experts.entries_of(config)


def _scaling_of(architecture: str, rope: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    match rope.get("rope_type"):
        case "longrope" if architecture != "phi3":
            yield "rope.scaling.type", "longrope"
        case "linear":
            yield "rope.scaling.type", "linear"
            yield "rope.scaling.factor", rope["factor"]
        case "yarn":
            yield "rope.scaling.type", "yarn"
            yield "rope.scaling.factor", rope["factor"]
            yield "rope.scaling.original_context_length", rope["original_max_position_embeddings"]
            for theirs, ours in (("attention_factor", "attn_factor"), ("beta_fast", "beta_fast"), ("beta_slow",) * 2):
                if theirs in rope:
                    yield f"rope.scaling.yarn_{ours}", rope[theirs]
            if architecture == "mistral3":
                yield "rope.scaling.yarn_log_multiplier", rope["mscale_all_dim"]
                yield "attention.temperature_scale", rope["llama_4_scaling_beta"]


def _special_entries_of(architecture: str, config: Any) -> Iterator[tuple[str, Any]]:
    if architecture in ("gptneox", "stablelm"):
        yield "use_parallel_residual", config.use_parallel_residual
    if architecture in ("gemma2", "gemma3", "cohere2", "gpt-oss") or config.model_type == "mixtral":
        yield "attention.sliding_window", config.sliding_window or 0
    if architecture == "gemma2":
        yield "attn_logit_softcapping", config.attn_logit_softcapping
    if getattr(config, "final_logit_softcapping", None):
        yield "final_logit_softcapping", config.final_logit_softcapping
    if architecture in ("command-r", "cohere2"):
        yield "logit_scale", config.logit_scale
        yield "rope.scaling.type", "none"
    if config.model_type == "olmo3":
        yield "attention.sliding_window", config.sliding_window
        yield "attention.sliding_window_pattern", [kind == _SLIDING for kind in config.layer_types]
    if architecture == "phi3":
        yield "attention.sliding_window", config.sliding_window or 0
        yield "rope.scaling.original_context_length", config.original_max_position_embeddings
        if config.rope_parameters["rope_type"] == "longrope":
            ratio = config.max_position_embeddings / config.original_max_position_embeddings
            grown = 1 + np.log(ratio) / np.log(config.original_max_position_embeddings)
            yield "rope.scaling.attn_factor", float(np.sqrt(grown))
    if architecture == "granite":
        yield "attention.scale", config.attention_multiplier
        yield "embedding_scale", config.embedding_multiplier
        yield "residual_scale", config.residual_multiplier
        yield "logit_scale", config.logits_scaling


def tensors_of(architecture: str, model: transformers.PreTrainedModel) -> dict[str, np.ndarray]:
    """The weights by llama.cpp's names, as the converter stores them."""
    config = model.config
    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    tensors = {}
    for name, weight in gguf_experts.with_a_tensor_for_each_matrix(model.state_dict(), config):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if ".norms." in name or name.endswith(("inv_freq", ".attn.bias", "masked_bias")):
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        tensors[stored] = np.ascontiguousarray(_as_stored(architecture, name, weight.numpy(), config))
    for kind in ("long", "short"):
        factors = (getattr(config, "rope_parameters", None) or {}).get(f"{kind}_factor")
        if factors is not None and architecture == "phi3":
            tensors[f"rope_factors_{kind}.weight"] = np.array(factors, np.float32)
    return tensors


def _as_stored(architecture: str, name: str, rows: np.ndarray, config: Any) -> np.ndarray:
    if architecture in _REORDERED and ("q_proj" in name or "k_proj" in name):
        n_heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        return in_llama_cpp_order(rows, n_heads)
    if architecture in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        return rows + 1
    if architecture == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return rows.T
    if "query_key_value" in name:
        n_heads = config.num_attention_heads
        n_keys = n_heads
        if architecture == "falcon":
            n_keys = config.num_kv_heads if config.new_decoder_architecture else 1
        d_head = config.hidden_size // n_heads
        groups = rows.reshape(n_keys, n_heads // n_keys + 2, d_head, *rows.shape[1:])
        parts = (groups[:, :-2], groups[:, -2:-1], groups[:, -1:])
        return np.concatenate([part.reshape(-1, *rows.shape[1:]) for part in parts])
    return rows
