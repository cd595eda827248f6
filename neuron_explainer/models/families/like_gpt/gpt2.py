"""GPT-2: learned positions, LayerNorm, one fused query-key-value matrix, matrices stored as (inputs, outputs)."""

import math
from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.config_entries import USUAL_ENTRIES
from neuron_explainer.models.families.family import Family, TensorSource, check_divides, refuse, required, transposed
from neuron_explainer.models.transformer_config import TransformerConfig


class GPT2Family(Family):
    """GPT-2 (Radford et al. 2019), also with attention scaled by the inverse of the layer's number."""

    model_type = "gpt2"
    base_prefix = "transformer."
    entries = USUAL_ENTRIES
    ignored = (r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",)

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        refuse(hf_config, "add_cross_attention", False)
        d_model, n_heads = required(hf_config, "n_embd"), required(hf_config, "n_head")
        check_divides(d_model, n_heads)
        n_layers = required(hf_config, "n_layer")
        scale = 1 / math.sqrt(d_model // n_heads) if hf_config.get("scale_attn_weights", True) else 1.0
        by_layer = hf_config.get("scale_attn_by_inverse_layer_idx", False)
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=n_layers,
            n_heads=n_heads,
            n_key_value_heads=n_heads,
            d_model=d_model,
            d_head=d_model // n_heads,
            d_mlp=hf_config.get("n_inner") or 4 * d_model,
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=required(hf_config, "n_positions", "n_ctx"),
            norm_kind="layer_norm",
            norm_epsilon=hf_config.get("layer_norm_epsilon", 1e-5),
            activation_function=hf_config.get("activation_function", "gelu_new"),
            learned_positions=True,
            attention_scale_by_layer=tuple(scale / (layer + 1 if by_layer else 1) for layer in range(n_layers)),
            qkv_layout="fused",
            tied_unembedding=hf_config.get("tie_word_embeddings", True),
        )

    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """See the base class."""
        sources = {
            "embedding": TensorSource("transformer.wte.weight"),
            "position_embedding": TensorSource("transformer.wpe.weight"),
            "final_norm.gain": TensorSource("transformer.ln_f.weight"),
            "final_norm.bias": TensorSource("transformer.ln_f.bias"),
        }
        if not config.tied_unembedding:
            sources["unembedding"] = TensorSource(self.unembedding_name)
        return sources

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        prefix = f"transformer.h.{layer}."
        return {
            "attention_norm.gain": TensorSource(prefix + "ln_1.weight"),
            "attention_norm.bias": TensorSource(prefix + "ln_1.bias"),
            "attention.qkv_weight": TensorSource(prefix + "attn.c_attn.weight", transposed),
            "attention.qkv_bias": TensorSource(prefix + "attn.c_attn.bias"),
            "attention.output_weight": TensorSource(prefix + "attn.c_proj.weight", transposed),
            "attention.output_bias": TensorSource(prefix + "attn.c_proj.bias"),
            "mlp_norm.gain": TensorSource(prefix + "ln_2.weight"),
            "mlp_norm.bias": TensorSource(prefix + "ln_2.bias"),
            "mlp.input_weight": TensorSource(prefix + "mlp.c_fc.weight", transposed),
            "mlp.input_bias": TensorSource(prefix + "mlp.c_fc.bias"),
            "mlp.output_weight": TensorSource(prefix + "mlp.c_proj.weight", transposed),
            "mlp.output_bias": TensorSource(prefix + "mlp.c_proj.bias"),
        }
