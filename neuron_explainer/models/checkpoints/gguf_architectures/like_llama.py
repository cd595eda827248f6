"""The configurations of architectures that are Llama with differences, the same in all layers."""

import math
from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.common import (
    d_head_of,
    has_bias,
    rotary,
    sizes,
    with_rms_norm,
)
from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.experts import mixtral
from neuron_explainer.notices import AssumedSettingWarning, warn


def llama(entries: Entries) -> dict[str, Any]:
    """Llama; or Mixtral, if the file has experts; or Mistral, if it has a window."""
    if entries.get("expert_count", 0):
        return mixtral(entries)
    window = entries.window()
    if window is not None:
        return {"model_type": "mistral", **with_rms_norm(entries), **rotary(entries), "sliding_window": window}
    biases = {"attention_bias": has_bias(entries, "attn_q"), "mlp_bias": has_bias(entries, "ffn_down")}
    return {"model_type": "llama", **with_rms_norm(entries), **rotary(entries), **biases}


def ministral3(entries: Entries) -> dict[str, Any]:
    """Ministral 3, and the text part of Mistral Small 3."""
    config = {"model_type": "ministral3", **with_rms_norm(entries), **rotary(entries), "sliding_window": None}
    growth = entries.number_if_set("attention.temperature_scale")
    if growth is not None:
        config["rope_parameters"]["llama_4_scaling_beta"] = growth
        config["rope_parameters"].setdefault(
            "original_max_position_embeddings", entries.size("rope.scaling.original_context_length")
        )
    return config


def qwen2(entries: Entries) -> dict[str, Any]:
    """Qwen 2 and 2.5."""
    return {"model_type": "qwen2", **with_rms_norm(entries), **rotary(entries), "use_sliding_window": False}


def qwen3(entries: Entries) -> dict[str, Any]:
    """Qwen 3, the dense models."""
    differences = {"head_dim": d_head_of(entries), "attention_bias": has_bias(entries, "attn_q")}
    return {
        "model_type": "qwen3", **with_rms_norm(entries), **rotary(entries), **differences, "use_sliding_window": False
    }  # fmt: skip


def smollm3(entries: Entries) -> dict[str, Any]:
    """SmolLM3. Each fourth layer has no positions, as in llama.cpp; files do not say it."""
    biases = {"attention_bias": has_bias(entries, "attn_q"), "mlp_bias": has_bias(entries, "ffn_down")}
    layers = {"no_rope_layer_interval": 4, "use_sliding_window": False}
    return {"model_type": "smollm3", **with_rms_norm(entries), **rotary(entries), **biases, **layers}


def granite(entries: Entries) -> dict[str, Any]:
    """Granite 3 and 4, the dense models."""
    if entries.get("rope.scaling.finetuned", True) is False:
        raise entries.unsupported(
            "granite.rope.scaling.finetuned is false: the model has no rotary embedding. It must have one"
        )
    usual_scale = 1 / math.sqrt(d_head_of(entries))
    factors = {
        "embedding_multiplier": entries.number_if_set("embedding_scale") or 1.0,
        "attention_multiplier": entries.number_if_set("attention.scale") or usual_scale,
        "residual_multiplier": entries.number_if_set("residual_scale") or 1.0,
        "logits_scaling": entries.number_if_set("logit_scale") or 1.0,
    }
    biases = {"attention_bias": has_bias(entries, "attn_q"), "mlp_bias": has_bias(entries, "ffn_down")}
    return {"model_type": "granite", **with_rms_norm(entries), **rotary(entries), **factors, **biases}


def phi3(entries: Entries) -> dict[str, Any]:
    """Phi 3 and 4."""
    rope = rotary(entries, partly=True)
    return {"model_type": "phi3", **with_rms_norm(entries), **rope, "sliding_window": entries.window()}


def glm4(entries: Entries) -> dict[str, Any]:
    """GLM 4."""
    differences = {"head_dim": d_head_of(entries), "attention_bias": has_bias(entries, "attn_q")}
    return {"model_type": "glm4", **with_rms_norm(entries), **rotary(entries, partly=True), **differences}


def stablelm(entries: Entries) -> dict[str, Any]:
    """StableLM. llama.cpp takes attention and MLP for parallel if the MLP has no norm of its own."""
    return {
        "model_type": "stablelm",
        **sizes(entries),
        **rotary(entries, partly=True),
        "layer_norm_eps": entries.number("attention.layer_norm_epsilon"),
        "use_qkv_bias": has_bias(entries, "attn_q"),
        "use_parallel_residual": not entries.has_tensor("blk.0.ffn_norm.weight"),
        "qk_layernorm": entries.has_tensor("blk.0.attn_q_norm.weight"),
    }


def starcoder2(entries: Entries) -> dict[str, Any]:
    """StarCoder 2."""
    window = entries.window()
    if window is None and entries.size("context_length") > 4096:
        warn(
            f"{entries.file.path} does not say whether attention has a window; StarCoder 2's published models have one "
            "of 4096 tokens. No window is assumed; for longer texts pass the model's own config (config=…).",
            AssumedSettingWarning,
        )
    return {
        "model_type": "starcoder2",
        **sizes(entries),
        **rotary(entries),
        "norm_epsilon": entries.number("attention.layer_norm_epsilon"),
        "use_bias": has_bias(entries, "attn_q"),
        "sliding_window": window,
    }


def cohere(entries: Entries) -> dict[str, Any]:
    """Command R and Aya."""
    return {
        "model_type": "cohere",
        **like_cohere(entries),
        "use_qk_norm": entries.has_tensor("blk.0.attn_q_norm.weight"),
    }


def like_cohere(entries: Entries) -> dict[str, Any]:
    """What Command R and R7B have in common."""
    return {
        **sizes(entries),
        **rotary(entries),
        "layer_norm_eps": entries.number("attention.layer_norm_epsilon"),
        "logit_scale": entries.number("logit_scale"),
        "attention_bias": has_bias(entries, "attn_q"),
    }
