"""Other values for the entries of a small model's config, to try what an entry does."""

from typing import Any

from neuron_explainer.models.families.class_entries import ClassEntries
from neuron_explainer.models.families.harmless_entries import HARMLESS

_LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}
_FULL, _SLIDING = "full_attention", "sliding_attention"
_SMALL_FACTORS = {"short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [2.0, 3.0, 4.0, 5.0]}
_SAME_VALUES: tuple[tuple[str, list[Any]], ...] = (
    ("hidden_act activation_function hidden_activation activation", ["relu"]),
    ("hidden_size n_embd n_embed", [48]),
    ("num_attention_heads n_head num_heads", [2]),
    ("num_key_value_heads num_kv_heads", [1, 4]),
    ("intermediate_size ffn_dim n_inner ffn_hidden_size", [40]),
    ("max_position_embeddings n_positions", [32]),
    ("layer_norm_epsilon layer_norm_eps rms_norm_eps norm_epsilon", [0.1]),
    ("num_hidden_layers n_layer num_layers text_config vision_config", []),
    ("partial_rotary_factor rotary_pct", [0.5, 1.0]),
    ("rotary_emb_base rope_local_base_freq", [50.0]),
    ("attn_logit_softcapping final_logit_softcapping", [1.5]),
)
_BY_NAME: dict[str, list[Any]] = {
    **{name: values for names, values in _SAME_VALUES for name in names.split()},
    "attention_chunk_size": [3],
    "clip_qkv": [0.5],
    "decoder_sparse_step": [2],
    "mlp_only_layers": [[1]],
    "moe_intermediate_size": [7],
    "num_experts": [7],
    "num_experts_per_tok": [1, 4],
    "num_local_experts": [7],
    "attention_layers": [["local"] * 3],
    "attention_types": [[[["local"], 3]]],
    "head_dim": [16, 8],
    "layer_types": [[_SLIDING, _FULL, _FULL], [_FULL] * 3, [_SLIDING] * 3],
    "max_window_layers": [2, 0],
    "no_rope_layer_interval": [2],
    "no_rope_layers": [[0, 1, 0]],
    "num_ln_in_parallel_attn": [2, 1],
    "original_max_position_embeddings": [16],
    "per_layer_config": [{0: {"intermediate_size": 24}}],
    "pruned_heads": [{0: [1]}],
    "query_pre_attn_scalar": [7],
    "rope_parameters": [_LINEAR, {"rope_type": "default", "rope_theta": 50.0}],
    "rope_scaling": [{"type": "linear", "factor": 2.0}, {"type": "su", **_SMALL_FACTORS}],
    "rope_theta": [50.0, 5e5],
    "rotary_dim": [8, 2],
    "sliding_window": [3],
    "sliding_window_pattern": [2],
    "vocab_size": [77],
    "window_size": [3],
    "word_embed_proj_dim": [16],
}
_HARMLESS_BY_NAME: dict[str, Any] = {
    "bos_token_id": 5, "eos_token_id": 6, "summary_type": "mean", "summary_activation": "tanh",
}  # fmt: skip


def other_values(name: str, default: Any) -> list[Any]:
    """Values of an entry that differ from its default."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    if isinstance(default, bool):
        return [not default]
    if default is None or name.startswith(("is_", "use_", "add_")):
        return [True, False]
    return [0.3, 2.0] if isinstance(default, int | float) else ["relu"]


def other_harmless_values(table: ClassEntries) -> dict[str, Any]:
    """Another value for each of a config class's entries that should change nothing."""
    values: dict[str, Any] = {}
    for name, default in table.entries.items():
        if name in HARMLESS and name not in ("pad_token_id", "original_max_position_embeddings"):
            if isinstance(default, bool):
                values[name] = not default
            else:
                values[name] = _HARMLESS_BY_NAME.get(name, default + 1 if isinstance(default, int) else 0.4)
    return values
