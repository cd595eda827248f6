"""GPT-J: attention and MLP in parallel through one norm, neighbouring channels rotated, biases in the MLP alone."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import MOST_CHANNELS, USUAL_ENTRIES, size
from neuron_explainer.models.families.family import check_divides, required
from neuron_explainer.models.families.table import TableFamily
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer_config import TransformerConfig


class GPTJFamily(TableFamily):
    """GPT-J (Wang and Komatsuzaki 2021)."""

    model_type = "gptj"
    base_prefix = "transformer."
    layers = "transformer.h.{}."
    entries = MappingProxyType({**USUAL_ENTRIES, "rotary_dim": size(MOST_CHANNELS, keeps_null=True)})
    ignored = (r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias|embed_positions)",)
    outer_tensors = MappingProxyType(
        {
            "embedding": "transformer.wte.weight",
            "final_norm.gain": "transformer.ln_f.weight",
            "final_norm.bias": "transformer.ln_f.bias",
            "unembedding_bias": "lm_head.bias",
        }
    )
    layer_tensors = MappingProxyType(
        {
            "attention_norm.gain": "ln_1.weight",
            "attention_norm.bias": "ln_1.bias",
            "attention.query_weight": "attn.q_proj.weight",
            "attention.key_weight": "attn.k_proj.weight",
            "attention.value_weight": "attn.v_proj.weight",
            "attention.output_weight": "attn.out_proj.weight",
            "mlp.input_weight": "mlp.fc_in.weight",
            "mlp.input_bias": "mlp.fc_in.bias",
            "mlp.output_weight": "mlp.fc_out.weight",
            "mlp.output_bias": "mlp.fc_out.bias",
        }
    )

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        d_model, n_heads = required(hf_config, "n_embd"), required(hf_config, "n_head")
        check_divides(d_model, n_heads)
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=required(hf_config, "n_layer"),
            n_heads=n_heads,
            n_key_value_heads=n_heads,
            d_model=d_model,
            d_head=d_model // n_heads,
            d_mlp=hf_config.get("n_inner") or 4 * d_model,
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=required(hf_config, "n_positions"),
            norm_kind="layer_norm",
            norm_epsilon=hf_config.get("layer_norm_epsilon", 1e-5),
            activation_function=hf_config.get("activation_function", "gelu_new"),
            parallel_residual=True,
            shared_norm=True,
            rotary=RotaryConfig(n_channels=hf_config.get("rotary_dim", 64) or d_model // n_heads, is_interleaved=True),
            qkv_bias=False,
            attention_output_bias=False,
            unembedding_bias=True,
            tied_unembedding=hf_config.get("tie_word_embeddings", False),
        )
