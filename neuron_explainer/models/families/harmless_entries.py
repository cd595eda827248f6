"""Entries of configs that change nothing in a pass, outside of training, and those that would in every family."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_TRAINING = """
    activation_dropout attention_dropout attention_dropout_prob attention_probs_dropout_prob attn_pdrop
    classifier_dropout dropout embd_pdrop embed_dropout embedding_dropout emb_pdrop hidden_dropout
    hidden_dropout_prob layerdrop resid_dropout resid_pdrop residual_dropout
    gradient_checkpointing init_std initializer_factor initializer_range init_method use_bfloat16
    output_router_logits router_aux_loss_coef router_jitter_noise
"""
_FILES = """
    _attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash
    _experts_implementation _experts_implementation_internal _flash_attn_2_enabled _name_or_path _num_labels
    _output_attentions _sliding_window_pattern architectures attn_implementation auto_map
    base_model_name_or_path bos_token_id boi_token_id boi_token_index decoder_start_token_id eoi_token_id
    eoi_token_index eos_token_id experts_implementation image_token_id image_token_index model_type name_or_path
    pad_token_id sep_token_id tokenizer_class tokenizer_name transformers_version transformers_weights
    compression_config quantization quantization_config dtype torch_dtype
    attention_softmax_in_fp32 flash_attention use_flash_attention use_flash_attention_2 use_flash_attn use_sdpa
    fused_bias_fc fused_dropout_add_ln fused_mlp reorder_and_upcast_attn scale_attention_softmax_in_fp32
    cache_implementation use_cache pretraining_tp tensor_parallel_size model_max_length max_sequence_length
    trust_remote_code unsloth_fixed unsloth_version transformers.js_config neuron distributed_config
    use_parallel_embedding use_embedding_sharing training_args seq_length n_ctx is_llama_config
    original_max_position_embeddings
"""
_OUTPUTS = """
    chunk_size_feed_forward finetuning_task id2label is_decoder keys_to_ignore_at_inference label2id num_labels
    output_attentions output_hidden_states output_scores problem_type return_dict return_dict_in_generate
    summary_activation summary_first_dropout summary_last_dropout summary_proj_to_labels summary_type
    summary_use_proj task_specific_params tf_legacy_loss tie_encoder_decoder tie_last_hidden_states torchscript
    use_return_dict
"""
_GENERATION = """
    bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id length_penalty max_length
    max_new_tokens min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences prefix
    remove_invalid_values repetition_penalty suppress_tokens temperature top_k top_p typical_p
"""

HARMLESS = frozenset(f"{_TRAINING} {_FILES} {_OUTPUTS} {_GENERATION}".split())
"""Entries that change nothing, whatever their value is.

Weights that are quantised are recognised elsewhere (`checkpoints/quantised.py`). Generation here has settings of its
own. The context length that counts is the one that a family reads.
"""

HARMLESS_VALUES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "apply_residual_connection_post_layernorm": (False,),  # falcon
        "attention_bias": (False,),
        "cross_attention_hidden_size": (),
        "full_attn_mod": (1,),  # phi3
        "hidden_act": ("gelu_pytorch_tanh",),  # gemma2 and gemma3, which read hidden_activation
        "interpolate_factor": (1,),  # phi3
        "layer_switch": (4,),  # cohere2, whose pattern it repeats
        "lm_head_bias": (False,),
        "mlp_bias": (False,),
        "mlp_type": ("default",),  # starcoder2
        "norm_type": ("layer_norm", "rms_norm"),
        "order_of_interleaved_layers": ("local_attn_first",),  # cohere2
        "position_embedding_type": ("rope_gptj", "absolute", "rope", "rotary"),
        "rope_interleaved": (False,),  # smollm2
        "rotary": (True,),  # gptj
        "rotary_pct": (1, 1.0),
        "scale_attn_weights": (True,),  # gptj
        "use_gated_activation": (True,),  # cohere2
        "use_mrope": (False,),  # qwen2
        "use_parallel_block": (True,),  # cohere2
        "use_sliding_window": (False,),
    }
)
"""Entries of published configs that no config class knows, and the values that say what their models do anyway."""

REFUSED_IN_ALL: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "add_cross_attention": (False, "no text but the prompt is attended to"),
        "is_causal": (True, "a token attends to those before it alone"),
        "is_encoder_decoder": (False, "a model of text to text has one stack of layers"),
        "per_layer_config": ({}, "settings that differ by layer are read for windows and positions alone"),
        "pruned_heads": ({}, "a layer has all of its heads"),
        "use_bidirectional_attention": (False, "a token attends to those before it alone"),
    }
)
"""Entries that `transformers` obeys in every family: the value that is supported, and why no other is."""

OTHER_SPELLINGS = frozenset(
    {
        "head_dim", "layer_types", "partial_rotary_factor", "rope_local_base_freq",
        "rope_parameters", "rope_scaling", "rope_theta", "rotary_emb_base", "rotary_pct", "sliding_window_pattern",
    }
)  # fmt: skip
"""Entries that `transformers` reads where the config class does not name them: old names, and what any layer may have.

They count as known where the family has read them."""
