"""The entries of published models' `config.json`, as they are written; only lists of factors are shortened."""

from typing import Any

_TEXT: dict[str, Any] = {"torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": True}
_GPT: dict[str, Any] = {
    **_TEXT, "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1, "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05, "bos_token_id": 50256, "eos_token_id": 50256, "summary_activation": None,
    "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
    "activation_function": "gelu_new", "task_specific_params": {"text-generation": {"do_sample": True}},
}  # fmt: skip
_LLAMA: dict[str, Any] = {
    **_TEXT, "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": [1, 2],
    "hidden_act": "silu", "initializer_range": 0.02, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 1e4,
    "tie_word_embeddings": False, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "vocab_size": 256,
}  # fmt: skip


def _without(entries: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name not in names}


PUBLISHED: dict[str, dict[str, Any]] = {
    "openai-community/gpt2": {
        **_GPT, "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_ctx": 1024, "n_embd": 64, "n_head": 4,
        "n_layer": 2, "n_positions": 1024, "vocab_size": 256,
    },
    "distilbert/distilgpt2": {
        **_GPT, "_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "model_type": "gpt2",
        "n_ctx": 1024, "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 1024, "vocab_size": 256,
    },
    "EleutherAI/gpt-j-6b": {
        **_GPT, "architectures": ["GPTJForCausalLM"], "gradient_checkpointing": False, "model_type": "gptj",
        "n_embd": 256, "n_head": 2, "n_inner": None, "n_layer": 2, "n_positions": 2048, "rotary": True,
        "rotary_dim": 64, "scale_attn_weights": True, "tie_word_embeddings": False, "tokenizer_class": "GPT2Tokenizer",
        "vocab_size": 256,
    },
    "roneneldan/TinyStories-33M": {
        **_without(_GPT, "attn_pdrop", "embd_pdrop", "resid_pdrop"), "attention_dropout": 0, "embed_dropout": 0,
        "attention_layers": ["global", "local"], "attention_types": [[["global", "local"], 1]],
        "gradient_checkpointing": False, "hidden_size": 64, "intermediate_size": None, "resid_dropout": 0,
        "max_position_embeddings": 2048, "model_type": "gpt_neo", "num_heads": 4, "num_layers": 2, "vocab_size": 256,
        "window_size": 256,
    },
    "EleutherAI/pythia-70m": {
        **_TEXT, "architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu",
        "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 96, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048, "model_type": "gpt_neox", "num_attention_heads": 4, "num_hidden_layers": 2,
        "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True,
        "vocab_size": 256, "attention_probs_dropout_prob": 0, "hidden_dropout_prob": 0,
    },
    "facebook/opt-125m": {
        **_TEXT, "_name_or_path": "facebook/opt-125m", "_remove_final_layer_norm": False, "activation_dropout": 0.0,
        "activation_function": "relu", "attention_dropout": 0.0, "do_layer_norm_before": True, "dropout": 0.1,
        "ffn_dim": 96, "hidden_size": 64, "init_std": 0.02, "layerdrop": 0.0, "max_position_embeddings": 2048,
        "model_type": "opt", "num_attention_heads": 4, "num_hidden_layers": 2, "pad_token_id": 1, "prefix": "</s>",
        "vocab_size": 256, "word_embed_proj_dim": 64,
    },
    "tiiuae/falcon-7b": {
        **_TEXT, "alibi": False, "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_falcon.FalconConfig"}, "bias": False, "bos_token_id": 11,
        "hidden_dropout": 0.0, "hidden_size": 64, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
        "model_type": "falcon", "multi_query": True, "new_decoder_architecture": False, "num_attention_heads": 4,
        "num_hidden_layers": 2, "parallel_attn": True, "vocab_size": 256,
    },
    "microsoft/phi-2": {
        **_without(_LLAMA, "attention_bias", "rms_norm_eps", "num_key_value_heads"), "embd_pdrop": 0.0,
        "hidden_act": "gelu_new", "layer_norm_eps": 1e-05, "model_type": "phi", "num_key_value_heads": None,
        "partial_rotary_factor": 0.5, "qk_layernorm": False, "resid_pdrop": 0.1,
    },
    "microsoft/Phi-3-mini-4k-instruct": {
        **_LLAMA, "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
        "model_type": "phi3", "original_max_position_embeddings": 2048, "sliding_window": 2047, "pad_token_id": 2,
    },
    "microsoft/Phi-4-mini-instruct": {
        **_LLAMA, "embd_pdrop": 0.0, "full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": False,
        "mlp_bias": False, "model_type": "phi3", "original_max_position_embeddings": 2048, "resid_pdrop": 0.0,
        "partial_rotary_factor": 0.75, "sliding_window": 262144, "tie_word_embeddings": True,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 6, "long_factor": [2.0] * 6},
    },
    "meta-llama/Llama-3.2-1B": {
        **_LLAMA, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "mlp_bias": False, "pretraining_tp": 1,
        "head_dim": 16, "tie_word_embeddings": True, "rope_theta": 500000.0,
        "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "rope_type": "llama3",
            "original_max_position_embeddings": 2048,
        },
    },
    "unsloth/Llama-3.2-1B": {
        **_LLAMA, "model_type": "llama", "mlp_bias": False, "pretraining_tp": 1, "unsloth_fixed": True,
        "unsloth_version": "2024.12.4", "pad_token_id": 128004,
    },
    "HuggingFaceTB/SmolLM2-135M": {
        **_LLAMA, "is_llama_config": True, "model_type": "llama", "pretraining_tp": 1, "rope_interleaved": False,
        "pad_token_id": None, "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}}, "mlp_bias": False,
    },
    "HuggingFaceTB/SmolLM3-3B": {
        **_LLAMA, "_name_or_path": "HuggingFaceTB/SmolLM3-3B", "layer_types": ["full_attention"] * 4, "mlp_bias": False,
        "max_window_layers": 28, "model_type": "smollm3", "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0],
        "pretraining_tp": 2, "sliding_window": None, "use_sliding_window": False, "rope_theta": 5000000.0,
    },
    "mistralai/Mistral-7B-v0.1": {
        **_without(_LLAMA, "attention_bias", "rope_scaling"), "model_type": "mistral", "sliding_window": 4096,
    },
    "mistralai/Mistral-7B-Instruct-v0.3": {
        **_without(_LLAMA, "attention_bias", "rope_scaling"), "model_type": "mistral", "sliding_window": None,
        "head_dim": 16,
    },
    "Qwen/Qwen2.5-0.5B": {
        **_without(_LLAMA, "attention_bias"), "max_window_layers": 2, "model_type": "qwen2", "sliding_window": 32768,
        "use_mrope": False, "use_sliding_window": False,
    },
    "Qwen/Qwen3-0.6B": {
        **_LLAMA, "head_dim": 128, "max_window_layers": 4, "model_type": "qwen3", "sliding_window": None,
        "use_sliding_window": False,
    },
    "google/gemma-2-2b": {
        **_LLAMA, "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid", "final_logit_softcapping": 30.0,
        "head_dim": 16, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
        "model_type": "gemma2", "query_pre_attn_scalar": 256, "sliding_window": 4096,
    },
    "google/gemma-3-1b-pt": {
        **_without(_LLAMA, "hidden_act"), "attn_logit_softcapping": None, "cache_implementation": "hybrid",
        "final_logit_softcapping": None, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh",
        "model_type": "gemma3_text", "query_pre_attn_scalar": 256, "rope_local_base_freq": 10000, "rope_theta": 1000000,
        "sliding_window": 512, "sliding_window_pattern": 6,
    },
    "google/gemma-3-4b-pt": {
        "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
        "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
        "model_type": "gemma3", "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
        "text_config": {
            "hidden_size": 64, "intermediate_size": 96, "model_type": "gemma3_text", "num_hidden_layers": 4,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 32, "image_size": 896, "model_type": "siglip_vision_model", "patch_size": 14},
    },
    "allenai/OLMo-2-1124-7B": {
        **_LLAMA, "model_type": "olmo2", "pad_token_id": 1, "rope_theta": 500000, "rms_norm_eps": 1e-06,
    },
    "allenai/Olmo-3-1025-7B": {
        **_LLAMA, "model_type": "olmo3", "sliding_window": 4096, "rope_theta": 500000,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "rope_scaling": {
            "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024, "attention_factor": 1.2,
            "beta_fast": 32.0, "beta_slow": 1.0,
        },
    },
    "ibm-granite/granite-3.1-2b-base": {
        **_LLAMA, "attention_multiplier": 0.0625, "embedding_multiplier": 12.0, "logits_scaling": 8.0,
        "mlp_bias": False, "model_type": "granite", "residual_multiplier": 0.22,
    },
    "stabilityai/stablelm-2-1_6b": {
        **_without(_LLAMA, "attention_bias", "rms_norm_eps"), "hidden_dropout": 0.0, "layer_norm_eps": 1e-05,
        "model_type": "stablelm", "partial_rotary_factor": 0.25, "qk_layernorm": False, "use_parallel_residual": False,
        "use_qkv_bias": True,
    },
    "bigcode/starcoder2-3b": {
        **_without(_LLAMA, "attention_bias", "rms_norm_eps", "tie_word_embeddings"), "embedding_dropout": 0.1,
        "hidden_act": "gelu_pytorch_tanh", "mlp_type": "default", "model_type": "starcoder2", "norm_epsilon": 1e-05,
        "norm_type": "layer_norm", "residual_dropout": 0.1, "sliding_window": 4096, "use_bias": True,
    },
    "CohereForAI/c4ai-command-r-v01": {
        **_without(_LLAMA, "rms_norm_eps", "rope_scaling"), "layer_norm_eps": 1e-05, "logit_scale": 0.0625,
        "model_max_length": 131072, "model_type": "cohere", "pad_token_id": 0, "tie_word_embeddings": True,
        "use_qk_norm": False,
    },
    "CohereForAI/c4ai-command-r7b-12-2024": {
        **_without(_LLAMA, "rms_norm_eps"), "_attn_implementation_autoset": True, "cache_implementation": "hybrid",
        "head_dim": 16, "layer_norm_eps": 1e-05, "layer_switch": 4, "logit_scale": 0.25, "model_type": "cohere2",
        "order_of_interleaved_layers": "local_attn_first", "pad_token_id": 0, "position_embedding_type": "rope_gptj",
        "rotary_pct": 1.0, "sliding_window": 4096, "sliding_window_pattern": 4, "use_embedding_sharing": True,
        "use_gated_activation": True, "use_parallel_block": True, "use_parallel_embedding": True,
        "tie_word_embeddings": True,
    },
    "THUDM/GLM-4-9B-0414": {
        **_LLAMA, "attention_bias": True, "head_dim": 16, "model_type": "glm4", "partial_rotary_factor": 0.5,
        "pad_token_id": 151329,
    },
    "mistralai/Mixtral-8x7B-v0.1": {
        **_without(_LLAMA, "attention_bias", "rope_scaling"), "model_type": "mixtral", "num_experts_per_tok": 2,
        "num_local_experts": 8, "output_router_logits": False, "router_aux_loss_coef": 0.02, "sliding_window": None,
    },
    "Qwen/Qwen3-30B-A3B": {
        **_LLAMA, "decoder_sparse_step": 1, "head_dim": 16, "max_window_layers": 48, "mlp_only_layers": [],
        "model_type": "qwen3_moe", "moe_intermediate_size": 24, "norm_topk_prob": True, "num_experts": 8,
        "num_experts_per_tok": 2, "output_router_logits": False, "router_aux_loss_coef": 0.001, "sliding_window": None,
        "use_sliding_window": False,
    },
    "allenai/OLMoE-1B-7B-0924": {
        **_without(_LLAMA, "rms_norm_eps"), "clip_qkv": None, "model_type": "olmoe", "norm_topk_prob": False,
        "num_experts": 8, "num_experts_per_tok": 2, "output_router_logits": False, "pad_token_id": 1,
        "router_aux_loss_coef": 0.01,
    },
    "openai/gpt-oss-20b": {
        **_LLAMA, "attention_bias": True, "experts_per_token": 4, "head_dim": 16, "initial_context_length": 4096,
        "model_type": "gpt_oss", "num_experts_per_tok": 4, "num_local_experts": 8, "output_router_logits": False,
        "pad_token_id": 199999, "router_aux_loss_coef": 0.9, "sliding_window": 128, "swiglu_limit": 7.0,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "rope_theta": 150000,
        "rope_scaling": {
            "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
            "rope_type": "yarn", "truncate": False,
        },
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]},
    },
}  # fmt: skip
