"""What the entries of a Hugging Face config may be: types and ranges, held against before anything is computed.

A config comes from outside. A size as text or of 10^30 must not reach the code that computes with it.
"""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.errors import MalformedCheckpointError, shown
from neuron_explainer.vocabulary.checks import finite_number, whole_number

MOST_LAYERS = 1000
_MOST = 2**31 - 1

_SIZES = {
    **dict.fromkeys(("num_hidden_layers", "n_layer"), MOST_LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads"), 2**16),
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner", "head_dim"), 2**24),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions", "n_ctx"), _MOST),
    **dict.fromkeys(("sliding_window", "original_max_position_embeddings"), _MOST),
}
_FROM_ZERO = {"max_window_layers": _MOST}
_POSITIVE = {
    "rope_theta",
    "rotary_emb_base",
    "rope_local_base_freq",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "partial_rotary_factor",
    "rotary_pct",
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
}
_NOT_NEGATIVE = {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"}
_FLAGS = {
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "use_parallel_residual",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "reorder_and_upcast_attn",
    "use_sliding_window",
}
_TEXTS = {"model_type", "hidden_act", "hidden_activation", "activation_function", "rope_type", "type"}
_OBJECTS = {"rope_parameters", "rope_scaling", "quantization_config"}


def check_entries(hf_config: Mapping[str, Any]) -> None:
    """Refuse entries of the wrong type or out of range. None stands for an entry that is not set.

    Raises:
        MalformedCheckpointError: an entry cannot be what it must be.
    """
    for name, value in hf_config.items():
        if value is None:
            continue
        must_be = _broken_rule(name, value)
        if must_be is not None:
            raise MalformedCheckpointError(f"{name} in the config is {shown(value, 100)}; it must be {must_be}.")
        if name in _OBJECTS and name != "quantization_config":
            check_entries(value)


def _broken_rule(name: str, value: object) -> str | None:
    """What the entry must be, if it is not."""
    if name in _SIZES or name in _FROM_ZERO:
        low, most = (1, _SIZES[name]) if name in _SIZES else (0, _FROM_ZERO[name])
        number = whole_number(value)
        return None if number is not None and low <= number <= most else f"a whole number from {low} to {most}"
    if name in _POSITIVE or name in _NOT_NEGATIVE:
        finite = finite_number(value)
        if name in _POSITIVE:
            return None if finite is not None and finite > 0 else "a finite number above 0"
        return None if finite is not None and finite >= 0 else "a finite number of at least 0"
    if name in _FLAGS:
        return None if isinstance(value, bool) else "true or false"
    if name in _TEXTS:
        return None if isinstance(value, str) else "a text"
    if name in _OBJECTS:
        return None if isinstance(value, Mapping) else "an object with entries"
    if name == "layer_types":
        kinds = value if isinstance(value, list | tuple) and len(value) <= MOST_LAYERS else [None]
        return None if all(isinstance(kind, str) for kind in kinds) else "a list of texts, one per layer"
    return None
