"""GGUF files of small llamas, written by the `gguf` package as llama.cpp's converter would."""

import json
import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.checkpoints import byte_level_tokenizer, in_llama_cpp_order
from helpers.installed_transformers import rope_theta_of

KINDS = gguf.GGMLQuantizationType
PART_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}

NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 10**6, 2**31, 2**62, 0.0, -1.0, 0.3, 64.0, math.nan, math.inf, "", "4", "x" * 1000,
    [], [1], ["a"], [["a"]], [None] * 320, ["a"] * 320, list(range(320)), [math.nan] * 320,
)  # fmt: skip
"""Values that no entry of a file should have."""


def gguf_name(name: str) -> str:
    outside = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in outside:
        return outside[name]
    _, _, layer, *part, kind = name.split(".")
    return f"blk.{layer}.{PART_NAMES['.'.join(part)]}.{kind}"


def write_llama(
    path: Path,
    model: LlamaForCausalLM | None,
    *,
    kind: gguf.GGMLQuantizationType = KINDS.F32,
    architecture: str = "llama",
    vocabulary: bool = True,
    pre_tokenizer: str = "gpt-2",
    extra: dict[str, str | float | bool] | None = None,
    without: tuple[str, ...] = (),
    tensors: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a llama as llama.cpp's converter would: interleaved queries and keys, norms in float32."""
    writer = gguf.GGUFWriter(path, architecture)
    if model is not None:
        add_config(writer, model.config)
    if vocabulary:
        add_byte_level_vocabulary(writer, pre_tokenizer)
    for key, value in (extra or {}).items():
        add_entry(writer, key, value)
    if model is not None:
        for name, rows in converted(model).items():
            add_tensor(writer, name, rows, KINDS.F32 if rows.ndim == 1 else kind, without)
    for name, rows in (tensors or {}).items():
        add_tensor(writer, name, rows, KINDS.F32, ())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_config(writer: gguf.GGUFWriter, config: LlamaConfig) -> None:
    assert config.num_key_value_heads is not None
    assert config.head_dim is not None
    rope_theta = rope_theta_of(config)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    if config.head_dim != config.hidden_size // config.num_attention_heads:
        writer.add_key_length(config.head_dim)
    writer.add_vocab_size(config.vocab_size)


def add_entry(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_float32(key, value)


def converted(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The weights by their names in GGUF, queries and keys in llama.cpp's order."""
    config = model.config
    assert config.num_key_value_heads is not None
    heads_by_part = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    weights = {}
    for name, weight in model.state_dict().items():
        rows = weight.numpy()
        for part, n_heads in heads_by_part.items():
            if part in name:
                rows = in_llama_cpp_order(rows, n_heads)
        weights[gguf_name(name)] = np.ascontiguousarray(rows)
    return weights


def add_tensor(
    writer: gguf.GGUFWriter, name: str, rows: np.ndarray, kind: gguf.GGMLQuantizationType, without: tuple[str, ...]
) -> None:
    if name not in without:
        writer.add_tensor(name, gguf.quantize(rows, kind), raw_dtype=kind)


def add_byte_level_vocabulary(writer: gguf.GGUFWriter, pre_tokenizer: str = "gpt-2") -> None:
    tokenizer = byte_level_tokenizer()
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens)
    special = tokenizer.get_added_tokens_decoder()
    writer.add_token_types([3 if token_id in special else 1 for token_id in range(len(tokens))])
    merges = gguf_merges(tokenizer)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(tokens) - 1)


def gguf_merges(tokenizer: Tokenizer) -> list[str]:
    return [" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
