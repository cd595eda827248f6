"""Small random models of every family, made of config entries alone: no checkpoint, no network, no `transformers`."""

import math
from typing import Any

import tokenizers
import torch

from benchmarks.shapes import random_model
from neuron_explainer import AutoencoderContext, DerivedScalarType, ModelContext, StandardModelContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.latent_activations import LatentActivation, ReLU
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer

VOCABULARY_SIZE = 61
N_LATENTS = 24
_SPREAD = 0.2

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": VOCABULARY_SIZE,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
_WITHOUT_MLP_SIZE = {name: size for name, size in _SIZES.items() if name != "intermediate_size"}
_GPT2_SIZES = {
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "vocab_size": VOCABULARY_SIZE,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

_GEMMA3_TEXT = {
    "model_type": "gemma3_text",
    **_SIZES,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": 5,
    "query_pre_attn_scalar": 24,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0},
    },
}

SMALL_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", **_GPT2_SIZES},
    "gpt2_scaled_by_layer": {
        "model_type": "gpt2",
        **_GPT2_SIZES,
        "n_inner": 40,
        "activation_function": "relu",
        "scale_attn_by_inverse_layer_idx": True,
        "tie_word_embeddings": False,
    },
    "gpt_neox": {"model_type": "gpt_neox", **_SIZES},
    "gpt_neox_sequential": {
        "model_type": "gpt_neox",
        **_SIZES,
        "use_parallel_residual": False,
        "attention_bias": False,
    },
    "llama": {"model_type": "llama", **_SIZES, "num_key_value_heads": 2},
    "llama_3": {
        "model_type": "llama",
        **_SIZES,
        "num_key_value_heads": 1,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "rope_parameters": _LLAMA3_ROPE,
    },
    "llama_linear": {
        "model_type": "llama",
        **_SIZES,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0},
    },
    "mistral": {"model_type": "mistral", **_SIZES, "num_key_value_heads": 2, "sliding_window": 5, "head_dim": 16},
    "qwen2": {
        "model_type": "qwen2",
        **_SIZES,
        "num_key_value_heads": 2,
        "use_sliding_window": True,
        "sliding_window": 6,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3", **_SIZES, "num_key_value_heads": 2, "head_dim": 16},
    "gemma2": {
        "model_type": "gemma2",
        **_SIZES,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 5,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3_text": _GEMMA3_TEXT,
    "gemma3": {
        "model_type": "gemma3",
        "text_config": _GEMMA3_TEXT,
        "vision_config": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": 16,
            "patch_size": 8,
        },
        "mm_tokens_per_image": 4,
    },
    "smollm3": {
        "model_type": "smollm3",
        **_SIZES,
        "num_key_value_heads": 2,
        "no_rope_layers": [1, 0, 1],
        "use_sliding_window": True,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "olmo2": {"model_type": "olmo2", **_SIZES, "num_key_value_heads": 2},
    "olmo3": {
        "model_type": "olmo3",
        **_SIZES,
        "num_key_value_heads": 2,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
            "full_attention": {
                "rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16,
                "beta_fast": 4.0, "beta_slow": 0.5,
            },
        },
    },
    "phi3": {
        "model_type": "phi3",
        **_SIZES,
        "num_key_value_heads": 2,
        "sliding_window": 5,
        "original_max_position_embeddings": 32,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 500.0, "short_factor": [1.0, 1.5, 2.0, 2.5],
            "long_factor": [2.0, 3.0, 4.0, 5.0], "original_max_position_embeddings": 32,
        },
    },
    "phi": {"model_type": "phi", **_SIZES},
    "gptj": {"model_type": "gptj", **_GPT2_SIZES, "rotary_dim": 4},
    "gpt_neo": {
        "model_type": "gpt_neo",
        "hidden_size": 32,
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]],
        "window_size": 5,
        "vocab_size": VOCABULARY_SIZE,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
    },
    "opt": {
        "model_type": "opt", **_WITHOUT_MLP_SIZE,
        "ffn_dim": 48, "word_embed_proj_dim": 32, "activation_function": "gelu",
    },
    "falcon": {"model_type": "falcon", **_WITHOUT_MLP_SIZE, "ffn_hidden_size": 48},
    "falcon_groups": {
        "model_type": "falcon", **_WITHOUT_MLP_SIZE, "ffn_hidden_size": 48, "new_decoder_architecture": True,
        "num_kv_heads": 2, "bias": True,
    },
    "falcon_sequential": {
        "model_type": "falcon", **_WITHOUT_MLP_SIZE, "ffn_hidden_size": 48, "parallel_attn": False,
        "multi_query": False,
    },
    "stablelm": {"model_type": "stablelm", **_SIZES, "num_key_value_heads": 2, "use_qkv_bias": True},
    "stablelm_parallel": {
        "model_type": "stablelm", **_SIZES, "num_key_value_heads": 2, "use_parallel_residual": True,
    },
    "starcoder2": {"model_type": "starcoder2", **_SIZES, "num_key_value_heads": 2, "sliding_window": 5},
    "granite": {
        "model_type": "granite",
        **_SIZES,
        "num_key_value_heads": 2,
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.6,
        "logits_scaling": 2.5,
    },
    "cohere": {"model_type": "cohere", **_SIZES, "num_key_value_heads": 2, "use_qk_norm": True, "logit_scale": 0.5},
    "cohere2": {
        "model_type": "cohere2",
        **_SIZES,
        "num_key_value_heads": 2,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "glm4": {"model_type": "glm4", **_SIZES, "num_key_value_heads": 2, "head_dim": 16},
    "ministral": {
        "model_type": "ministral",
        **_SIZES,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "ministral3": {
        "model_type": "ministral3",
        **_SIZES,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 500.0, "factor": 16.0, "original_max_position_embeddings": 4,
            "beta_fast": 4.0, "beta_slow": 0.5, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3,
        },
    },
    "mixtral": {
        "model_type": "mixtral", **_SIZES, "intermediate_size": 12, "num_key_value_heads": 2, "sliding_window": 5,
        "num_local_experts": 4, "num_experts_per_tok": 2,
    },
    "qwen3_moe": {
        "model_type": "qwen3_moe", **_SIZES, "num_key_value_heads": 2, "head_dim": 16, "moe_intermediate_size": 10,
        "num_experts": 5, "num_experts_per_tok": 3, "norm_topk_prob": True,
    },
    "olmoe": {
        "model_type": "olmoe", **_SIZES, "intermediate_size": 8, "num_key_value_heads": 2, "num_experts": 6,
        "num_experts_per_tok": 2,
    },
    "gpt_oss": {
        "model_type": "gpt_oss", **_SIZES, "intermediate_size": 12, "num_key_value_heads": 2, "head_dim": 16,
        "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5, "swiglu_limit": 1.5,
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16,
            "beta_fast": 4.0, "beta_slow": 0.5, "truncate": False,
        },
    },
}  # fmt: skip
"""The entries of a Hugging Face config for each family, and for each variant that takes a path of its own."""


def number_tokenizer(letter: str = "t") -> ModelTokenizer:
    """One token a word, and the words are t0 to t60, or those with another letter."""
    words = {f"{letter}{number}": number for number in range(VOCABULARY_SIZE)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token=f"{letter}0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return ModelTokenizer(tokenizer)


def small_context(
    name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> StandardModelContext:
    """A small model whose weights, gains and biases are all random, and the same numbers in every dtype.

    The weights are rounded to bfloat16, so that models of two dtypes differ in their arithmetic alone.
    """
    model = random_model(SMALL_CONFIGS[name], "cpu", torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * _SPREAD)
            parameter.copy_(parameter.bfloat16())
    return StandardModelContext(name, model.to(device=device, dtype=dtype), number_tokenizer(), end_token_ids=[1])


def random_autoencoders(
    context: ModelContext,
    dst: DerivedScalarType,
    *,
    dtype: torch.dtype = torch.float64,
    n_latents: int = N_LATENTS,
    activation: LatentActivation | None = None,
    bias: float = 0.0,
    input_scaling: InputScaling = InputScaling.NONE,
) -> AutoencoderContext:
    """Random autoencoders of one place in every layer; about half of the latents are active, or more with a bias."""
    width = math.prod(context.get_dim_size(dimension) for dimension in dst.shape_spec_per_token_sequence[1:])
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).bfloat16().double()

    by_layer = {
        layer: Autoencoder(
            random(n_latents, width),
            random(width, n_latents) * 0.125,
            random(width) * 0.125,
            random(n_latents) * 0.125 + bias,
            activation or ReLU(),
            input_scaling=input_scaling,
        ).to(context.device, dtype)
        for layer in range(context.n_layers)
    }
    return AutoencoderContext.from_autoencoders(dst, by_layer)
