"""Models of TransformerLens with the weights of the small models of `transformers`."""

import importlib
from typing import Any

from helpers.tiny_models import HF_CONFIGS, hf_model


def lens_model(lens: Any, family: str) -> Any:
    """TransformerLens' model with the same weights."""
    weight_conversions: Any = importlib.import_module("transformer_lens.pretrained.weight_conversions")
    config, is_gpt2 = HF_CONFIGS[family], family == "gpt2"
    heads = config.num_attention_heads
    of_llama = {
        "n_key_value_heads": getattr(config, "num_key_value_heads", None),
        "rotary_dim": config.hidden_size // heads,
        "rotary_base": getattr(config, "rope_parameters", None) and config.rope_parameters["rope_theta"],
        "gated_mlp": True,
        "final_rms": True,
        "positional_embedding_type": "rotary",
    }
    lens_config = lens.HookedTransformerConfig(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_heads=heads,
        d_head=config.hidden_size // heads,
        n_ctx=64,
        d_vocab=config.vocab_size,
        d_mlp=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        act_fn="gelu_new" if is_gpt2 else "silu",
        eps=config.layer_norm_epsilon if is_gpt2 else config.rms_norm_eps,
        original_architecture="GPT2LMHeadModel" if is_gpt2 else "LlamaForCausalLM",
        normalization_type="LN" if is_gpt2 else "RMS",
        device="cpu",
        **({} if is_gpt2 else of_llama),
    )
    model = lens.HookedTransformer(lens_config)
    convert = weight_conversions.convert_gpt2_weights if is_gpt2 else weight_conversions.convert_llama_weights
    model.load_state_dict(convert(hf_model(family), lens_config), strict=False)
    return model
