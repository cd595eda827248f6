"""The entries of GGUF files that are known although no configuration asks for them."""

from typing import Any

from neuron_explainer.vocabulary.checks import whole_number

WITHOUT_EFFECT = frozenset(
    {
        "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "context_length", "expert_count",
        "expert_used_count", "feed_forward_length", "rope.freq_base", "rope.scaling.factor",
        "rope.scaling.finetuned", "rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_log_multiplier", "tensor_data_layout",
        "use_parallel_residual", "vocab_size",
    }
)  # fmt: skip
"""Entries that llama.cpp's converter writes for many models, and that change nothing where no rule reads them."""

NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    **dict.fromkeys(
        (
            "attention.clamp_kqv", "attention.max_alibi_bias", "attention.scale", "attention.shared_kv_layers",
            "attention.sliding_window", "attention.temperature_length", "attention.temperature_scale",
            "attn_logit_softcapping", "final_logit_softcapping", "n_deepstack_layers", "nextn_predict_layers",
            "pooling_type", "rope.scaling.alpha", "expert_chunk_feed_forward_length", "expert_shared_count",
            "expert_shared_feed_forward_length", "leading_dense_block_count", "moe_latent_size",
        ),
        (0,),
    ),
    **dict.fromkeys(
        (
            "attention.output_scale", "embedding_scale", "logit_scale", "residual_scale", "expert_gating_func",
            "expert_group_count", "expert_group_used_count", "expert_weights_scale", "interleave_moe_layer_step",
            "moe_every_n_layers",
        ),
        (0, 1),
    ),
    "expert_weights_norm": (True,),
    **dict.fromkeys(("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"), (1,)),
    "rope.scaling.yarn_ext_factor": (-1, 1),
    "rope.freq_base_swa": (),
    "rope.dimension_sections": ([0, 0, 0, 0], []),
}  # fmt: skip
"""Entries that change what a model computes, and the values that change nothing."""


def is_neutral(key: str, value: Any, context_length: Any) -> bool:
    """Whether the value of an entry among `NEUTRAL_VALUES` changes nothing.

    Args:
        key: the entry, without the architecture's name.
        value: its value.
        context_length: the file's entry of that name. No context of this length leaves a window that is as long.
    """
    if key == "attention.sliding_window":
        length, window = whole_number(context_length), whole_number(value)
        return window is not None and (window == 0 or (length is not None and window >= length))
    return value in NEUTRAL_VALUES[key]
