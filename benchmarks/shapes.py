"""The shapes of well-known models, as entries of Hugging Face configs, and models of them with random weights."""

from typing import Any

import torch

from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.transformer import Transformer

GPT2_SMALL: dict[str, Any] = {
    "model_type": "gpt2",
    "n_layer": 12,
    "n_embd": 768,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
    "bos_token_id": 50256,
    "eos_token_id": 50256,
}
LLAMA_1B: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 16,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
"""The sizes of Llama 3.2 1B, which has 1.2 billion weights."""


def random_model(entries: dict[str, Any], device: torch.device | str, dtype: torch.dtype) -> Transformer:
    """A model of a shape with random weights."""
    return Transformer.with_random_weights(family_of(entries).config(entries), device=device, dtype=dtype)


def random_models_of_both(
    entries: dict[str, Any], device: torch.device | str, dtype: torch.dtype
) -> tuple[Any, Transformer]:
    """A model of `transformers` with random weights, and ours around the same weights, in the same memory."""
    import transformers

    with torch.device(device):
        theirs = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(**entries), dtype=dtype
        ).eval()
    theirs.requires_grad_(False)
    return theirs, Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
