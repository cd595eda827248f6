"""The configurations of architectures whose layers differ: some have a sliding window."""

from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.common import d_head_of, has_bias, rotary, with_rms_norm
from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.like_llama import like_cohere
from neuron_explainer.models.checkpoints.gguf_architectures.rope import plain_rope, rope_parameters

_LAYERS_OF_GEMMA_27B = {"gemma2": 46, "gemma3": 62}
"""llama.cpp knows these by their number of layers: their attention has another scale, which files do not say."""


def gemma2(entries: Entries) -> dict[str, Any]:
    """Gemma 2."""
    caps = {
        "attn_logit_softcapping": entries.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": entries.number("final_logit_softcapping", 30.0),
    }
    windows = {"sliding_window": entries.window() or 4096, "layer_types": entries.layer_types(2)}
    return {"model_type": "gemma2", **_gemma(entries), **rotary(entries), **caps, **windows}


def gemma3(entries: Entries) -> dict[str, Any]:
    """Gemma 3, the text part."""
    window = entries.window()
    types = ["full_attention"] * entries.n_layers() if window is None else entries.layer_types(6)
    rope = {
        "full_attention": rope_parameters(entries, d_head_of(entries)),
        "sliding_attention": plain_rope(entries, "rope.freq_base_swa"),
    }
    return {
        "model_type": "gemma3_text",
        **_gemma(entries),
        "rope_parameters": rope,
        "sliding_window": window or entries.size("context_length"),
        "layer_types": types,
        "final_logit_softcapping": entries.number_if_set("final_logit_softcapping"),
        "attention_bias": has_bias(entries, "attn_q"),
    }


def olmo2(entries: Entries) -> dict[str, Any]:
    """OLMo 2; or OLMo 3, if the file has a window."""
    common = {**with_rms_norm(entries), "attention_bias": has_bias(entries, "attn_q")}
    window = entries.window()
    if window is None:
        return {"model_type": "olmo2", **common, **rotary(entries)}
    rope = {
        "full_attention": rope_parameters(entries, d_head_of(entries)),
        "sliding_attention": plain_rope(entries, "rope.freq_base_swa", default_base=plain_rope(entries)["rope_theta"]),
    }
    types = entries.layer_types(4)
    return {
        "model_type": "olmo3", **common, "rope_parameters": rope, "sliding_window": window, "layer_types": types
    }  # fmt: skip


def cohere2(entries: Entries) -> dict[str, Any]:
    """Command R7B and A."""
    types = entries.layer_types(4)
    window = entries.size("attention.sliding_window")
    return {"model_type": "cohere2", **like_cohere(entries), "sliding_window": window, "layer_types": types}


def _gemma(entries: Entries) -> dict[str, Any]:
    d_head, scale = d_head_of(entries), entries.number_if_set("attention.scale")
    if scale is not None:
        scalar: float = scale**-2
    elif entries.n_layers() == _LAYERS_OF_GEMMA_27B[entries.architecture]:
        scalar = entries.size("embedding_length") // entries.size("attention.head_count")
    else:
        scalar = d_head
    activation = {"hidden_activation": "gelu_pytorch_tanh"}
    return {**with_rms_norm(entries), **activation, "head_dim": d_head, "query_pre_attn_scalar": scalar}
