"""Mistral and Ministral: like Llama, with a sliding window in every layer, in some or in none."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.config_entries import checked_rope_entries
from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import LlamaFamily, window_everywhere, windows_by_layer
from neuron_explainer.models.families.read_entries import with_defaults
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig


class MistralFamily(LlamaFamily):
    """Mistral (Jiang et al. 2023). A config without `sliding_window` means 4096 tokens; null means no window."""

    model_type = "mistral"

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            "sliding_window_by_layer": window_everywhere(with_defaults(hf_config, {"sliding_window": 4096})),
            "qkv_bias": False,
            "attention_output_bias": False,
        }


class MinistralFamily(MistralFamily):
    """Ministral 8B (2024): a window in some layers, by `layer_types`."""

    model_type = "ministral"

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        with_window = with_defaults(hf_config, {"sliding_window": 4096})
        by_default = [True] * required(hf_config, "num_hidden_layers")
        return {
            **super().differences(hf_config),
            "sliding_window_by_layer": windows_by_layer(with_window, by_default),
        }


class Ministral3Family(MistralFamily):
    """Ministral 3 (2025): positions stretched by YaRN, and queries that grow with the logarithm of their position."""

    model_type = "ministral3"

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class."""
        required(hf_config, "rope_parameters", "rope_scaling")
        return rotary_config(hf_config, d_head, default_base=1e6)

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        settings = checked_rope_entries(hf_config)
        growth, length = settings.get("llama_4_scaling_beta"), settings.get("original_max_position_embeddings")
        return {
            **super().differences(with_defaults(hf_config, {"sliding_window": None})),
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-5),
            "query_growth": growth or 0.0,
            "query_growth_length": int(length) if growth and length else None,
        }
