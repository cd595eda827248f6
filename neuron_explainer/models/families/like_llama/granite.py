"""Granite: like Llama, with factors of the embedding, of attention logits, of all that is added, and of logits."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import USUAL_ENTRIES, positive
from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import LlamaFamily

_FACTORS = ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling")


class GraniteFamily(LlamaFamily):
    """Granite 3 and 4 (IBM 2024), the dense models."""

    model_type = "granite"
    entries = MappingProxyType({**USUAL_ENTRIES, **dict.fromkeys(_FACTORS, positive())})

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        n_layers = required(hf_config, "num_hidden_layers")
        return {
            "mlp_bias": bool(hf_config.get("mlp_bias", False)),
            "embedding_scale": hf_config.get("embedding_multiplier", 1.0),
            "rounds_embedding_scale": False,
            "attention_scale_by_layer": (hf_config.get("attention_multiplier", 1.0),) * n_layers,
            "residual_multiplier": hf_config.get("residual_multiplier", 1.0),
            "logits_scale": 1 / hf_config.get("logits_scaling", 1.0),
        }
