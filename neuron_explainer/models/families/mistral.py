"""Mistral: like Llama, with a sliding window in every layer."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import LlamaFamily, windows_by_layer


class MistralFamily(LlamaFamily):
    """Mistral (Jiang et al. 2023). A config without `sliding_window` means 4096 tokens; null means no window."""

    model_type = "mistral"

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        with_window = {"sliding_window": 4096, **hf_config}
        n_layers = required(hf_config, "num_hidden_layers")
        return {
            "sliding_window_by_layer": windows_by_layer(with_window, [True] * n_layers),
            "qkv_bias": False,
            "attention_output_bias": False,
        }
