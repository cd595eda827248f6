"""Phi 1 to 2: attention and MLP in parallel through one norm, partial rotary embedding, biases everywhere."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.family import refuse, required
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.families.table import TableFamily
from neuron_explainer.models.transformer_config import TransformerConfig


class PhiFamily(TableFamily):
    """Phi (Li et al. 2023)."""

    model_type = "phi"
    base_prefix = "model."
    layers = "model.layers.{}."
    ignored = (r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",)
    outer_tensors = MappingProxyType(
        {
            "embedding": "model.embed_tokens.weight",
            "final_norm.gain": "model.final_layernorm.weight",
            "final_norm.bias": "model.final_layernorm.bias",
            "unembedding_bias": "lm_head.bias",
        }
    )
    layer_tensors = MappingProxyType(
        {
            "attention_norm.gain": "input_layernorm.weight",
            "attention_norm.bias": "input_layernorm.bias",
            **{
                f"{ours}_{kind}": f"{theirs}.{kind}"
                for ours, theirs in {
                    "attention.query": "self_attn.q_proj",
                    "attention.key": "self_attn.k_proj",
                    "attention.value": "self_attn.v_proj",
                    "attention.output": "self_attn.dense",
                    "mlp.input": "mlp.fc1",
                    "mlp.output": "mlp.fc2",
                }.items()
                for kind in ("weight", "bias")
            },
        }
    )

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        refuse(hf_config, "qk_layernorm", False)
        d_model, n_heads = required(hf_config, "hidden_size"), required(hf_config, "num_attention_heads")
        d_head = d_model // n_heads
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=required(hf_config, "num_hidden_layers"),
            n_heads=n_heads,
            n_key_value_heads=hf_config.get("num_key_value_heads") or n_heads,
            d_model=d_model,
            d_head=d_head,
            d_mlp=required(hf_config, "intermediate_size"),
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=required(hf_config, "max_position_embeddings"),
            norm_kind="layer_norm",
            norm_epsilon=hf_config.get("layer_norm_eps", 1e-5),
            activation_function=hf_config.get("hidden_act") or "gelu_new",
            parallel_residual=True,
            shared_norm=True,
            rotary=rotary_config(hf_config, d_head, share_rotated=0.5),
            unembedding_bias=True,
            tied_unembedding=hf_config.get("tie_word_embeddings", False),
        )
