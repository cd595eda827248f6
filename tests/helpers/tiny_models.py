"""Small random models of every family, as `transformers` builds them, and as this library does."""

import functools
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import transformers
from transformers.models.gemma2 import modeling_gemma2

from neuron_explainer.models.transformer import Transformer

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 61,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

HF_CONFIGS: dict[str, transformers.PreTrainedConfig] = {
    "gpt2": transformers.GPT2Config(
        n_embd=32, n_layer=3, n_head=4, vocab_size=61, n_positions=64, bos_token_id=0, eos_token_id=1
    ),
    "gpt2_scaled_by_layer": transformers.GPT2Config(
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_inner=40,
        vocab_size=61,
        n_positions=64,
        activation_function="relu",
        scale_attn_by_inverse_layer_idx=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    ),
    "gpt_neox": transformers.GPTNeoXConfig(**_SIZES),
    "gpt_neox_sequential": transformers.GPTNeoXConfig(**_SIZES, use_parallel_residual=False, attention_bias=False),
    "llama": transformers.LlamaConfig(**_SIZES, num_key_value_heads=2),
    "llama_3": transformers.LlamaConfig(
        **_SIZES,
        num_key_value_heads=1,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        rope_parameters=_LLAMA3_ROPE,
    ),
    "llama_linear": transformers.LlamaConfig(
        **_SIZES, rope_parameters={"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
    ),
    "mistral": transformers.MistralConfig(**_SIZES, num_key_value_heads=2, sliding_window=5, head_dim=16),
    "qwen2": transformers.Qwen2Config(
        **_SIZES, num_key_value_heads=2, use_sliding_window=True, sliding_window=6, max_window_layers=1
    ),
    "qwen3": transformers.Qwen3Config(**_SIZES, num_key_value_heads=2, head_dim=16),
    "gemma2": transformers.Gemma2Config(
        **_SIZES,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=5,
        query_pre_attn_scalar=24,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
}


def hf_model(name: str, dtype: torch.dtype = torch.float32) -> transformers.PreTrainedModel:
    """A `transformers` model with random weights, biases and gains, whose attention patterns can be asked for."""
    return _hf_model(name, dtype)


@functools.cache
def _hf_model(name: str, dtype: torch.dtype) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(HF_CONFIGS[name], attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model = model.eval().to(dtype).requires_grad_(False)
    if dtype == torch.float64:
        model.forward = _in_float64_throughout(model.forward)
    return model


def our_model(name: str, dtype: torch.dtype = torch.float32) -> Transformer:
    """Ours around the same weights."""
    theirs = hf_model(name, dtype)
    return Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())


def random_tokens(batch: int, tokens: int, vocab_size: int = 61, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def _exact_rms_norm(norm: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + norm.eps) * (1.0 + norm.weight)


def _in_float64_throughout(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass of `transformers` without its rounding of norms and softmax to float32."""

    @functools.wraps(forward)
    def exact(*arguments: Any, **keywords: Any) -> Any:
        with (
            mock.patch.object(torch, "float32", torch.float64),
            mock.patch.object(modeling_gemma2.Gemma2RMSNorm, "forward", _exact_rms_norm),
        ):
            return forward(*arguments, **keywords)

    return exact
