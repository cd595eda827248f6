"""SmolLM3: like Llama, with layers that have no positions."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import MOST_LAYERS, USUAL_ENTRIES, ConfigEntry, size
from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import LlamaFamily, in_every_layer_but_each, windows_by_layer
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.vocabulary.checks import whole_number


def _are_flags(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(whole_number(each) in (0, 1) for each in value)


class SmolLM3Family(LlamaFamily):
    """SmolLM3 (2025). `no_rope_layers` has a 1 for each layer with a rotary embedding, despite its name."""

    model_type = "smollm3"
    harmless_entries = frozenset({"no_rope_layer_interval", "max_window_layers"})  # beside no_rope_layers
    ties_by_default = True
    entries = MappingProxyType(
        {
            **USUAL_ENTRIES,
            "no_rope_layer_interval": size(MOST_LAYERS, null_is_missing=True),
            "no_rope_layers": ConfigEntry(_are_flags, "a list of 0 and 1", null_is_missing=True),
        }
    )

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class."""
        return rotary_config(hf_config, d_head, default_base=2e6)

    def rotary_by_layer(self, hf_config: Mapping[str, Any], d_head: int) -> tuple[RotaryConfig | None, ...]:
        """See the base class."""
        rotary = self.rotary(hf_config, d_head)
        return tuple(rotary if each else None for each in _are_rotated(hf_config))

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        is_used = hf_config.get("use_sliding_window", False)
        slides_by_default = [bool(is_used and not each) for each in _are_rotated(hf_config)]
        return {
            "mlp_bias": bool(hf_config.get("mlp_bias", False)),
            # `layer_types` counts whatever `use_sliding_window` is.
            "sliding_window_by_layer": windows_by_layer(hf_config, slides_by_default),
        }


def _are_rotated(hf_config: Mapping[str, Any]) -> Sequence[int]:
    """Whether each layer has a rotary embedding."""
    rotated: Sequence[int] | None = hf_config.get("no_rope_layers")
    if rotated is not None:
        return rotated
    n_layers = required(hf_config, "num_hidden_layers")
    return in_every_layer_but_each(hf_config.get("no_rope_layer_interval", 4), n_layers)
