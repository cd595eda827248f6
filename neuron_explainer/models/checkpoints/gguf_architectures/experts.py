"""The configurations of mixtures of experts."""

from typing import Any

from neuron_explainer.errors import shown
from neuron_explainer.models.checkpoints.gguf_architectures.common import d_head_of, has_bias, rotary, with_rms_norm
from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.families.config_entries import MOST_EXPERTS

_GATES_OF_GPT_OSS = (None, 0, 3)
"""Not said, not set, or the softmax of the chosen experts' logits, which llama.cpp uses whatever a file says."""


def mixtral(entries: Entries) -> dict[str, Any]:
    """Mixtral: a Llama with experts."""
    return {
        "model_type": "mixtral",
        **with_rms_norm(entries),
        **rotary(entries),
        **_experts(entries, "num_local_experts"),
        "intermediate_size": _d_expert(entries),
        "sliding_window": entries.window(),
    }


def qwen3_moe(entries: Entries) -> dict[str, Any]:
    """Qwen 3 with experts. llama.cpp makes the weights of the chosen experts sum to 1."""
    return {
        "model_type": "qwen3_moe",
        **with_rms_norm(entries),
        **rotary(entries),
        **_experts(entries, "num_experts"),
        "moe_intermediate_size": _d_expert(entries, shared_by=entries.size("expert_used_count")),
        "norm_topk_prob": entries.get("expert_weights_norm", True),
        "head_dim": d_head_of(entries),
        "attention_bias": has_bias(entries, "attn_q"),
        "use_sliding_window": False,
    }


def olmoe(entries: Entries) -> dict[str, Any]:
    """OLMoE. llama.cpp leaves the weights of the chosen experts as they are."""
    return {
        "model_type": "olmoe",
        **with_rms_norm(entries),
        **rotary(entries),
        **_experts(entries, "num_experts"),
        "intermediate_size": _d_expert(entries),
        "norm_topk_prob": entries.get("expert_weights_norm", False),
        "attention_bias": has_bias(entries, "attn_q"),
    }


def gpt_oss(entries: Entries) -> dict[str, Any]:
    """gpt-oss. Files do not say the limit and the slope of its gates, nor that YaRN's step is not rounded."""
    gate = entries.get("expert_gating_func")
    if gate not in _GATES_OF_GPT_OSS:
        raise entries.unsupported(f"gpt-oss.expert_gating_func is {shown(gate)}; it must be 3 or not set")
    rope = rotary(entries)
    if rope["rope_parameters"]["rope_type"] == "yarn":
        rope["rope_parameters"]["truncate"] = False
    return {
        "model_type": "gpt_oss",
        **with_rms_norm(entries),
        **rope,
        **_experts(entries, "num_local_experts"),
        "intermediate_size": _d_expert(entries),
        "head_dim": d_head_of(entries),
        "attention_bias": has_bias(entries, "attn_q"),
        "sliding_window": entries.size("attention.sliding_window"),
        "layer_types": entries.layer_types(2),
    }


def _experts(entries: Entries, number: str) -> dict[str, Any]:
    """How many experts there are, by the config's name for it, and how many of them a token is sent to."""
    return {
        number: entries.size("expert_count", largest=MOST_EXPERTS),
        "num_experts_per_tok": entries.size("expert_used_count", largest=MOST_EXPERTS),
    }


def _d_expert(entries: Entries, *, shared_by: int = 1) -> int:
    """How many neurons an expert has; if the file does not say it, some experts share those of an MLP."""
    return entries.size_if_set("expert_feed_forward_length") or entries.size("feed_forward_length") // shared_by
