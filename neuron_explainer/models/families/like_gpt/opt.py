"""OPT: learned positions that begin at the third row, ReLU, norms before attention and MLP."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from neuron_explainer.models.families.config_entries import MOST_CHANNELS, USUAL_ENTRIES, size
from neuron_explainer.models.families.family import TensorSource, check_divides, refuse, required
from neuron_explainer.models.families.table import TableFamily
from neuron_explainer.models.transformer_config import TransformerConfig

_POSITION_OFFSET = 2  # two rows are for padding


def _from_first_position(table: Tensor) -> Tensor:
    return table[_POSITION_OFFSET:]


class OPTFamily(TableFamily):
    """OPT (Zhang et al. 2022), without OPT-350m, whose norms come after attention and MLP."""

    model_type = "opt"
    base_prefix = "model."
    layers = "model.decoder.layers.{}."
    entries = MappingProxyType({**USUAL_ENTRIES, "ffn_dim": size(8 * MOST_CHANNELS)})
    outer_tensors = MappingProxyType(
        {
            "embedding": "model.decoder.embed_tokens.weight",
            "final_norm.gain": "model.decoder.final_layer_norm.weight",
            "final_norm.bias": "model.decoder.final_layer_norm.bias",
        }
    )
    layer_tensors = MappingProxyType(
        {
            "attention_norm.gain": "self_attn_layer_norm.weight",
            "attention_norm.bias": "self_attn_layer_norm.bias",
            "mlp_norm.gain": "final_layer_norm.weight",
            "mlp_norm.bias": "final_layer_norm.bias",
            **{
                f"{ours}_{kind}": f"{theirs}.{kind}"
                for ours, theirs in {
                    "attention.query": "self_attn.q_proj",
                    "attention.key": "self_attn.k_proj",
                    "attention.value": "self_attn.v_proj",
                    "attention.output": "self_attn.out_proj",
                    "mlp.input": "fc1",
                    "mlp.output": "fc2",
                }.items()
                for kind in ("weight", "bias")
            },
        }
    )

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        d_model, n_heads = required(hf_config, "hidden_size"), required(hf_config, "num_attention_heads")
        check_divides(d_model, n_heads)
        refuse(hf_config, "do_layer_norm_before", True, reason="OPT-350m's norms after attention and MLP are not read")
        refuse(hf_config, "word_embed_proj_dim", d_model, reason="OPT-350m's matrix after the embedding is not read")
        refuse(hf_config, "layer_norm_elementwise_affine", True)
        refuse(hf_config, "_remove_final_layer_norm", False)
        has_bias = hf_config.get("enable_bias", True)
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=required(hf_config, "num_hidden_layers"),
            n_heads=n_heads,
            n_key_value_heads=n_heads,
            d_model=d_model,
            d_head=d_model // n_heads,
            d_mlp=required(hf_config, "ffn_dim"),
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=required(hf_config, "max_position_embeddings"),
            norm_kind="layer_norm",
            norm_epsilon=1e-5,
            activation_function=hf_config.get("activation_function", "relu"),
            learned_positions=True,
            qkv_bias=has_bias,
            attention_output_bias=has_bias,
            mlp_bias=has_bias,
            tied_unembedding=hf_config.get("tie_word_embeddings", True),
        )

    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """See the base class."""
        positions = TensorSource("model.decoder.embed_positions.weight", _from_first_position)
        return {**super().outer_sources(config), "position_embedding": positions}
