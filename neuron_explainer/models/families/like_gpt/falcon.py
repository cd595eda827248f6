"""Falcon: fused queries, keys and values in groups, attention and MLP in parallel, rotary embedding."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import MOST_CHANNELS, USUAL_ENTRIES, size
from neuron_explainer.models.families.family import TensorSource, check_divides, refuse, required
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.families.table import TableFamily
from neuron_explainer.models.transformer_config import TransformerConfig


class FalconFamily(TableFamily):
    """Falcon (Almazrouei et al. 2023), without the models whose positions are attention biases (alibi)."""

    model_type = "falcon"
    base_prefix = "transformer."
    layers = "transformer.h.{}."
    entry_aliases = MappingProxyType({"n_embed": "hidden_size"})
    ignored = (r"(transformer\.)?h\.\d+\.self_attention\.rotary_emb\.inv_freq",)
    entries = MappingProxyType(
        {
            **USUAL_ENTRIES,
            "num_kv_heads": size(MOST_CHANNELS, null_is_missing=True),
            "ffn_hidden_size": size(8 * MOST_CHANNELS, null_is_missing=True),
        }
    )
    outer_tensors = MappingProxyType(
        {
            "embedding": "transformer.word_embeddings.weight",
            "final_norm.gain": "transformer.ln_f.weight",
            "final_norm.bias": "transformer.ln_f.bias",
        }
    )
    layer_tensors = MappingProxyType(
        {
            "attention_norm.gain": "input_layernorm.weight",
            "attention_norm.bias": "input_layernorm.bias",
            "attention.qkv_weight": "self_attention.query_key_value.weight",
            "attention.qkv_bias": "self_attention.query_key_value.bias",
            "attention.output_weight": "self_attention.dense.weight",
            "attention.output_bias": "self_attention.dense.bias",
            "mlp_norm.gain": "post_attention_layernorm.weight",
            "mlp_norm.bias": "post_attention_layernorm.bias",
            "mlp.input_weight": "mlp.dense_h_to_4h.weight",
            "mlp.input_bias": "mlp.dense_h_to_4h.bias",
            "mlp.output_weight": "mlp.dense_4h_to_h.weight",
            "mlp.output_bias": "mlp.dense_4h_to_h.bias",
        }
    )

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        refuse(hf_config, "alibi", False, reason="distances that are added to attention logits (ALiBi) are not read")
        d_model, n_heads = required(hf_config, "hidden_size"), required(hf_config, "num_attention_heads")
        check_divides(d_model, n_heads)
        has_groups = hf_config.get("new_decoder_architecture", False)
        shares_one = hf_config.get("multi_query", True)
        is_parallel = bool(has_groups or hf_config.get("parallel_attn", True))
        if has_groups:
            refuse(hf_config, "parallel_attn", True)
        else:
            refuse(hf_config, "num_ln_in_parallel_attn", 1)
        n_shared = hf_config.get("num_kv_heads") or n_heads
        n_norms = hf_config.get("num_ln_in_parallel_attn") or (2 if has_groups else 1)
        has_bias = hf_config.get("bias", False)
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=required(hf_config, "num_hidden_layers"),
            n_heads=n_heads,
            n_key_value_heads=n_shared if has_groups else 1 if shares_one else n_heads,
            d_model=d_model,
            d_head=d_model // n_heads,
            d_mlp=hf_config.get("ffn_hidden_size") or 4 * d_model,
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=hf_config.get("max_position_embeddings", 2048),
            norm_kind="layer_norm",
            norm_epsilon=hf_config.get("layer_norm_epsilon", 1e-5),
            activation_function=hf_config.get("activation", "gelu"),
            parallel_residual=is_parallel,
            shared_norm=is_parallel and n_norms == 1,
            rotary=rotary_config(hf_config, d_model // n_heads),
            qkv_bias=has_bias,
            attention_output_bias=has_bias,
            mlp_bias=has_bias,
            qkv_layout="fused" if shares_one and not has_groups else "fused_by_head",
            tied_unembedding=hf_config.get("tie_word_embeddings", True),
        )

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        sources = super().layer_sources(config, layer)
        if not config.parallel_residual or config.shared_norm:
            return sources
        prefix = self.layers.format(layer)
        for norm, theirs in (("attention_norm", "ln_attn"), ("mlp_norm", "ln_mlp")):
            for kind, name in (("gain", "weight"), ("bias", "bias")):
                sources[f"{norm}.{kind}"] = TensorSource(f"{prefix}{theirs}.{name}")
        return sources
