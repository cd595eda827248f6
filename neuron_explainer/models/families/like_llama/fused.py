"""Families that are Llama with fused matrices: Phi 3 and 4, and GLM 4."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import MOST_POSITIONS, USUAL_ENTRIES, size
from neuron_explainer.models.families.family import TensorSource
from neuron_explainer.models.families.llama import LlamaFamily, window_everywhere
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer_config import TransformerConfig


class _FusedMLP(LlamaFamily):
    """The gate and the up matrix are one above the other in one tensor."""

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        gate_and_up = f"model.layers.{layer}.mlp.gate_up_proj.weight"
        return {
            **super().layer_sources(config, layer),
            "mlp.input_weight": TensorSource(gate_and_up, lambda weight: weight[: config.d_mlp]),
            "mlp.up_weight": TensorSource(gate_and_up, lambda weight: weight[config.d_mlp :]),
        }


class Phi3Family(_FusedMLP):
    """Phi 3 and 4 (Abdin et al. 2024): queries, keys and values are one matrix; long contexts by longrope."""

    model_type = "phi3"
    share_rotated = 1.0
    entries = MappingProxyType({**USUAL_ENTRIES, "original_max_position_embeddings": size(MOST_POSITIONS)})
    matrices: Mapping[str, str] = {
        "attention.qkv": "self_attn.qkv_proj",
        "attention.output": "self_attn.o_proj",
        "mlp.output": "mlp.down_proj",
    }

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class. The first configs called the rule by other names."""
        return rotary_config(
            hf_config, d_head, share_rotated=self.share_rotated, rule_names={"su": "longrope", "yarn": "longrope"}
        )

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            "qkv_layout": "fused",
            "qkv_bias": False,
            "attention_output_bias": False,
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-5),
            "sliding_window_by_layer": window_everywhere(hf_config),
        }


class Glm4Family(_FusedMLP):
    """GLM 4 (2025): norms after attention and MLP too; half of the channels are rotated, in neighbouring pairs."""

    model_type = "glm4"
    share_rotated = 0.5
    default_d_head = 128
    rotates_neighbours = True
    norms: Mapping[str, str] = {
        "attention_norm.gain": "input_layernorm.weight",
        "attention_post_norm.gain": "post_self_attn_layernorm.weight",
        "mlp_norm.gain": "post_attention_layernorm.weight",
        "mlp_post_norm.gain": "post_mlp_layernorm.weight",
    }
    matrices: Mapping[str, str] = {
        ours: theirs for ours, theirs in LlamaFamily.matrices.items() if ours not in ("mlp.input", "mlp.up")
    }

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            "norm_epsilon": hf_config.get("rms_norm_eps", 1.5625e-7),
            "post_norms": True,
            "qkv_bias": bool(hf_config.get("attention_bias", True)),
            "attention_output_bias": False,
        }
