"""The configurations of architectures that are Llama with differences."""

import math
from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.rope import plain_rope, rope_parameters
from neuron_explainer.notices import AssumedSettingWarning, warn

_LAYERS_OF_GEMMA_27B = {"gemma2": 46, "gemma3": 62}
"""llama.cpp knows these by their number of layers: their attention has another scale, which files do not say."""


def llama(entries: Entries) -> dict[str, Any]:
    """Llama; or Mistral, if the file has a window."""
    window = entries.window()
    if window is not None:
        return {"model_type": "mistral", **_with_rms_norm(entries), **_rope(entries), "sliding_window": window}
    biases = {"attention_bias": _has_bias(entries, "attn_q"), "mlp_bias": _has_bias(entries, "ffn_down")}
    return {"model_type": "llama", **_with_rms_norm(entries), **_rope(entries), **biases}


def ministral3(entries: Entries) -> dict[str, Any]:
    """Ministral 3, and the text part of Mistral Small 3."""
    config = {"model_type": "ministral3", **_with_rms_norm(entries), **_rope(entries), "sliding_window": None}
    growth = entries.number_if_set("attention.temperature_scale")
    if growth is not None:
        config["rope_parameters"]["llama_4_scaling_beta"] = growth
        config["rope_parameters"].setdefault(
            "original_max_position_embeddings", entries.size("rope.scaling.original_context_length")
        )
    return config


def qwen2(entries: Entries) -> dict[str, Any]:
    """Qwen 2 and 2.5."""
    return {"model_type": "qwen2", **_with_rms_norm(entries), **_rope(entries), "use_sliding_window": False}


def qwen3(entries: Entries) -> dict[str, Any]:
    """Qwen 3, the dense models."""
    differences = {"head_dim": _d_head(entries), "attention_bias": _has_bias(entries, "attn_q")}
    return {
        "model_type": "qwen3", **_with_rms_norm(entries), **_rope(entries), **differences, "use_sliding_window": False
    }  # fmt: skip


def smollm3(entries: Entries) -> dict[str, Any]:
    """SmolLM3. Each fourth layer has no positions, as in llama.cpp; files do not say it."""
    biases = {"attention_bias": _has_bias(entries, "attn_q"), "mlp_bias": _has_bias(entries, "ffn_down")}
    layers = {"no_rope_layer_interval": 4, "use_sliding_window": False}
    return {"model_type": "smollm3", **_with_rms_norm(entries), **_rope(entries), **biases, **layers}


def granite(entries: Entries) -> dict[str, Any]:
    """Granite 3 and 4, the dense models."""
    if entries.get("rope.scaling.finetuned", True) is False:
        raise entries.unsupported(
            "granite.rope.scaling.finetuned is false: the model has no rotary embedding. It must have one"
        )
    usual_scale = 1 / math.sqrt(_d_head(entries))
    factors = {
        "embedding_multiplier": entries.number_if_set("embedding_scale") or 1.0,
        "attention_multiplier": entries.number_if_set("attention.scale") or usual_scale,
        "residual_multiplier": entries.number_if_set("residual_scale") or 1.0,
        "logits_scaling": entries.number_if_set("logit_scale") or 1.0,
    }
    biases = {"attention_bias": _has_bias(entries, "attn_q"), "mlp_bias": _has_bias(entries, "ffn_down")}
    return {"model_type": "granite", **_with_rms_norm(entries), **_rope(entries), **factors, **biases}


def gemma2(entries: Entries) -> dict[str, Any]:
    """Gemma 2."""
    caps = {
        "attn_logit_softcapping": entries.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": entries.number("final_logit_softcapping", 30.0),
    }
    windows = {"sliding_window": entries.window() or 4096, "layer_types": entries.layer_types(2)}
    return {"model_type": "gemma2", **_gemma(entries), **_rope(entries), **caps, **windows}


def gemma3(entries: Entries) -> dict[str, Any]:
    """Gemma 3, the text part."""
    window = entries.window()
    types = ["full_attention"] * entries.n_layers() if window is None else entries.layer_types(6)
    rope = {
        "full_attention": rope_parameters(entries, _d_head(entries)),
        "sliding_attention": plain_rope(entries, "rope.freq_base_swa"),
    }
    return {
        "model_type": "gemma3_text",
        **_gemma(entries),
        "rope_parameters": rope,
        "sliding_window": window or entries.size("context_length"),
        "layer_types": types,
        "final_logit_softcapping": entries.number_if_set("final_logit_softcapping"),
        "attention_bias": _has_bias(entries, "attn_q"),
    }


def olmo2(entries: Entries) -> dict[str, Any]:
    """OLMo 2; or OLMo 3, if the file has a window."""
    common = {**_with_rms_norm(entries), "attention_bias": _has_bias(entries, "attn_q")}
    window = entries.window()
    if window is None:
        return {"model_type": "olmo2", **common, **_rope(entries)}
    rope = {
        "full_attention": rope_parameters(entries, _d_head(entries)),
        "sliding_attention": plain_rope(entries, "rope.freq_base_swa", default_base=plain_rope(entries)["rope_theta"]),
    }
    types = entries.layer_types(4)
    return {
        "model_type": "olmo3", **common, "rope_parameters": rope, "sliding_window": window, "layer_types": types
    }  # fmt: skip


def phi3(entries: Entries) -> dict[str, Any]:
    """Phi 3 and 4."""
    rope = _rope(entries, partly=True)
    return {"model_type": "phi3", **_with_rms_norm(entries), **rope, "sliding_window": entries.window()}


def glm4(entries: Entries) -> dict[str, Any]:
    """GLM 4."""
    differences = {"head_dim": _d_head(entries), "attention_bias": _has_bias(entries, "attn_q")}
    return {"model_type": "glm4", **_with_rms_norm(entries), **_rope(entries, partly=True), **differences}


def stablelm(entries: Entries) -> dict[str, Any]:
    """StableLM. llama.cpp takes attention and MLP for parallel if the MLP has no norm of its own."""
    return {
        "model_type": "stablelm",
        **sizes(entries),
        **_rope(entries, partly=True),
        "layer_norm_eps": entries.number("attention.layer_norm_epsilon"),
        "use_qkv_bias": _has_bias(entries, "attn_q"),
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
        **_rope(entries),
        "norm_epsilon": entries.number("attention.layer_norm_epsilon"),
        "use_bias": _has_bias(entries, "attn_q"),
        "sliding_window": window,
    }


def cohere(entries: Entries) -> dict[str, Any]:
    """Command R and Aya."""
    return {
        "model_type": "cohere",
        **_cohere(entries),
        "use_qk_norm": entries.has_tensor("blk.0.attn_q_norm.weight"),
    }


def cohere2(entries: Entries) -> dict[str, Any]:
    """Command R7B and A."""
    types = entries.layer_types(4)
    window = entries.size("attention.sliding_window")
    return {"model_type": "cohere2", **_cohere(entries), "sliding_window": window, "layer_types": types}


def sizes(entries: Entries) -> dict[str, Any]:
    """The sizes of a model, and the ends of its texts."""
    n_heads = entries.size("attention.head_count")
    d_head, d_value = _d_head(entries), entries.size("attention.value_length", _d_head(entries))
    if d_value != d_head:
        raise entries.unsupported(
            f"{entries.architecture}.attention.value_length is {d_value}, and keys have {d_head} channels. Both must "
            "be the same"
        )
    head_dim = {} if d_head * n_heads == entries.size("embedding_length") else {"head_dim": d_head}
    return {
        "num_hidden_layers": entries.n_layers(),
        "num_attention_heads": n_heads,
        "num_key_value_heads": entries.size("attention.head_count_kv", n_heads),
        "hidden_size": entries.size("embedding_length"),
        **head_dim,
        "intermediate_size": entries.size("feed_forward_length"),
        "max_position_embeddings": entries.size("context_length"),
        **vocabulary(entries),
    }


def vocabulary(entries: Entries) -> dict[str, Any]:
    """The vocabulary's size, whether the unembedding is the embedding, and the tokens at which llama.cpp stops."""
    kinds = ("eos", "eot", "eom")  # the end of a text, of a turn, and of a message
    ends = [entries.file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in kinds]
    return {
        "vocab_size": entries.n_rows("token_embd.weight"),
        "tie_word_embeddings": not entries.has_tensor("output.weight"),
        "eos_token_id": [end for end in ends if end is not None] or None,
    }


def _d_head(entries: Entries) -> int:
    shared = entries.size("embedding_length") // entries.size("attention.head_count")
    return entries.size("attention.key_length", shared)


def _has_bias(entries: Entries, part: str) -> bool:
    return entries.has_tensor(f"blk.0.{part}.bias") or (part == "attn_q" and entries.has_tensor("blk.0.attn_qkv.bias"))


def _rope(entries: Entries, *, partly: bool = False) -> dict[str, Any]:
    return {"rope_parameters": rope_parameters(entries, _d_head(entries), partly=partly)}


def _with_rms_norm(entries: Entries) -> dict[str, Any]:
    return {**sizes(entries), "rms_norm_eps": entries.number("attention.layer_norm_rms_epsilon")}


def _gemma(entries: Entries) -> dict[str, Any]:
    d_head, scale = _d_head(entries), entries.number_if_set("attention.scale")
    if scale is not None:
        scalar: float = scale**-2
    elif entries.n_layers() == _LAYERS_OF_GEMMA_27B[entries.architecture]:
        scalar = entries.size("embedding_length") // entries.size("attention.head_count")
    else:
        scalar = d_head
    activation = {"hidden_activation": "gelu_pytorch_tanh"}
    return {**_with_rms_norm(entries), **activation, "head_dim": d_head, "query_pre_attn_scalar": scalar}


def _cohere(entries: Entries) -> dict[str, Any]:
    return {
        **sizes(entries),
        **_rope(entries),
        "layer_norm_eps": entries.number("attention.layer_norm_epsilon"),
        "logit_scale": entries.number("logit_scale"),
        "attention_bias": _has_bias(entries, "attn_q"),
    }
