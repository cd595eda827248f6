"""Command R: like Llama, with attention and MLP in parallel through one LayerNorm without a bias."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import USUAL_ENTRIES, positive
from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import (
    LlamaFamily,
    in_every_layer_but_each,
    kinds_of_layers,
    windows_by_layer,
)
from neuron_explainer.models.families.read_entries import with_defaults
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig


class CohereFamily(LlamaFamily):
    """Command R and Aya (Cohere 2024). Neighbouring channels are rotated; logits have a factor."""

    model_type = "cohere"
    ties_by_default = True
    entries = MappingProxyType({**USUAL_ENTRIES, "logit_scale": positive()})
    norms: Mapping[str, str] = {
        "attention_norm.gain": "input_layernorm.weight",
        "mlp_norm.gain": "input_layernorm.weight",
    }

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class."""
        return rotary_config(hf_config, d_head, is_interleaved=True, default_base=5e5)

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            "norm_kind": "layer_norm",
            "norm_has_bias": False,
            "norm_epsilon": hf_config.get("layer_norm_eps", 1e-5),
            "parallel_residual": True,
            "shared_norm": True,
            "logits_scale": hf_config.get("logit_scale", 0.0625),
            "query_key_norm": "layer_norm_by_head" if hf_config.get("use_qk_norm", False) else None,
        }


class Cohere2Family(CohereFamily):
    """Command R7B and A (Cohere 2025): only layers with a window have positions."""

    model_type = "cohere2"
    unsupported_entries = MappingProxyType({"use_qk_norm": False})

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class."""
        return rotary_config(hf_config, d_head, is_interleaved=True)

    def rotary_by_layer(self, hf_config: Mapping[str, Any], d_head: int) -> tuple[RotaryConfig | None, ...]:
        """See the base class."""
        rotary = self.rotary(hf_config, d_head)
        return tuple(rotary if slides else None for slides in kinds_of_layers(hf_config, _by_default(hf_config)))

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            **super().differences(hf_config),
            "sliding_window_by_layer": windows_by_layer(
                with_defaults(hf_config, {"sliding_window": 4096}), _by_default(hf_config)
            ),
        }


def _by_default(hf_config: Mapping[str, Any]) -> list[bool]:
    """Which layers have a window if the config has no `layer_types`."""
    n_layers = required(hf_config, "num_hidden_layers")
    return in_every_layer_but_each(hf_config.get("sliding_window_pattern", 4), n_layers)
