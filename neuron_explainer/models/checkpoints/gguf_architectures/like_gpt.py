"""The configurations of architectures with a plain MLP."""

from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.common import vocabulary
from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.rope import rope_parameters

_MLP_INPUT = "blk.0.ffn_up.weight"
"""Its rows are the neurons. Here the converter always writes 4 * embedding_length as the feed_forward_length."""


def gpt2(entries: Entries) -> dict[str, Any]:
    """GPT-2."""
    return {
        "model_type": "gpt2",
        "n_layer": entries.n_layers(),
        "n_head": entries.size("attention.head_count"),
        "n_embd": entries.size("embedding_length"),
        "n_inner": entries.n_rows(_MLP_INPUT),
        "n_positions": entries.n_rows("position_embd.weight"),
        "layer_norm_epsilon": entries.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
        **vocabulary(entries),
    }


def gpt_neox(entries: Entries) -> dict[str, Any]:
    """GPT-NeoX and Pythia."""
    return {
        "model_type": "gpt_neox",
        **_sizes(entries),
        "intermediate_size": entries.size("feed_forward_length"),
        "rope_parameters": rope_parameters(entries, _d_head(entries), partly=True),
        "layer_norm_eps": entries.number("attention.layer_norm_epsilon"),
        "use_parallel_residual": bool(entries.get("use_parallel_residual", True)),
        "attention_bias": entries.has_tensor("blk.0.attn_qkv.bias"),
        "hidden_act": "gelu",
    }


def falcon(entries: Entries) -> dict[str, Any]:
    """Falcon. The newer ones have groups of queries; of these, some have a norm for attention and one for the MLP."""
    n_shared = entries.size("attention.head_count_kv", 1)
    n_norms = 2 if entries.has_tensor("blk.0.attn_norm_2.weight") else 1
    has_groups = n_shared > 1 or n_norms == 2
    groups = {"num_kv_heads": n_shared, "num_ln_in_parallel_attn": n_norms} if has_groups else {}
    return {
        "model_type": "falcon",
        **_sizes(entries),
        "ffn_hidden_size": entries.n_rows(_MLP_INPUT),
        "rope_parameters": rope_parameters(entries, _d_head(entries)),
        "layer_norm_epsilon": entries.number("attention.layer_norm_epsilon"),
        "new_decoder_architecture": has_groups,
        "multi_query": not has_groups,
        **groups,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
        "activation": "gelu",
    }


def phi(entries: Entries) -> dict[str, Any]:
    """Phi 1 to 2."""
    n_heads = entries.size("attention.head_count")
    return {
        "model_type": "phi",
        **_sizes(entries),
        "num_key_value_heads": entries.size("attention.head_count_kv", n_heads),
        "intermediate_size": entries.n_rows(_MLP_INPUT),
        "rope_parameters": rope_parameters(entries, _d_head(entries), partly=True),
        "layer_norm_eps": entries.number("attention.layer_norm_epsilon"),
        "hidden_act": "gelu_new",
    }


def _sizes(entries: Entries) -> dict[str, Any]:
    return {
        "num_hidden_layers": entries.n_layers(),
        "num_attention_heads": entries.size("attention.head_count"),
        "hidden_size": entries.size("embedding_length"),
        "max_position_embeddings": entries.size("context_length"),
        **vocabulary(entries),
    }


def _d_head(entries: Entries) -> int:
    """The heads share the residual stream's channels: no family with a plain MLP has another size."""
    shared = entries.size("embedding_length") // entries.size("attention.head_count")
    for key in ("attention.key_length", "attention.value_length"):
        if entries.size(key, shared) != shared:
            raise entries.unsupported(f"{entries.architecture}.{key} is not {shared}, the heads' share of the channels")
    return shared
