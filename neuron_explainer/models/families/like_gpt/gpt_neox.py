"""GPT-NeoX and Pythia: partial rotary embedding, LayerNorm, attention and MLP in parallel."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.family import check_divides, required
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.families.table import TableFamily
from neuron_explainer.models.transformer_config import TransformerConfig

_LAYER_TENSORS = {
    "attention_norm.gain": "input_layernorm.weight",
    "attention_norm.bias": "input_layernorm.bias",
    "attention.qkv_weight": "attention.query_key_value.weight",
    "attention.qkv_bias": "attention.query_key_value.bias",
    "attention.output_weight": "attention.dense.weight",
    "attention.output_bias": "attention.dense.bias",
    "mlp_norm.gain": "post_attention_layernorm.weight",
    "mlp_norm.bias": "post_attention_layernorm.bias",
    "mlp.input_weight": "mlp.dense_h_to_4h.weight",
    "mlp.input_bias": "mlp.dense_h_to_4h.bias",
    "mlp.output_weight": "mlp.dense_4h_to_h.weight",
    "mlp.output_bias": "mlp.dense_4h_to_h.bias",
}


class GPTNeoXFamily(TableFamily):
    """GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023)."""

    model_type = "gpt_neox"
    base_prefix = "gpt_neox."
    harmless_entries = frozenset({"rope_theta", "partial_rotary_factor"})  # copies that transformers 4 made
    layers = "gpt_neox.layers.{}."
    layer_tensors = MappingProxyType(_LAYER_TENSORS)
    outer_tensors = MappingProxyType(
        {
            "embedding": "gpt_neox.embed_in.weight",
            "final_norm.gain": "gpt_neox.final_layer_norm.weight",
            "final_norm.bias": "gpt_neox.final_layer_norm.bias",
        }
    )
    aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({"lm_head.weight": ("embed_out.weight",)})
    ignored = (r"(gpt_neox\.)?layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",)

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        d_model, n_heads = required(hf_config, "hidden_size"), required(hf_config, "num_attention_heads")
        check_divides(d_model, n_heads)
        attention_bias = hf_config.get("attention_bias", True)
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=required(hf_config, "num_hidden_layers"),
            n_heads=n_heads,
            n_key_value_heads=n_heads,
            d_model=d_model,
            d_head=d_model // n_heads,
            d_mlp=required(hf_config, "intermediate_size"),
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=required(hf_config, "max_position_embeddings"),
            norm_kind="layer_norm",
            norm_epsilon=hf_config.get("layer_norm_eps", 1e-5),
            activation_function=hf_config.get("hidden_act", "gelu"),
            parallel_residual=hf_config.get("use_parallel_residual", True),
            rotary=rotary_config(
                hf_config,
                d_model // n_heads,
                share_rotated=0.25,
                base_entry="rotary_emb_base",
                share_entry="rotary_pct",
            ),
            qkv_bias=attention_bias,
            attention_output_bias=attention_bias,
            qkv_layout="fused_by_head",
            tied_unembedding=hf_config.get("tie_word_embeddings", False),
        )
