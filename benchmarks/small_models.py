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
}
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
