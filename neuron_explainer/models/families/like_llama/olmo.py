"""OLMo 2 and 3: like Llama, with norms after attention and MLP instead of before, and norms of queries and keys."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.family import refuse, required
from neuron_explainer.models.families.llama import (
    LlamaFamily,
    in_every_layer_but_each,
    kinds_of_layers,
    windows_by_layer,
)
from neuron_explainer.models.families.read_entries import with_defaults
from neuron_explainer.models.families.rope import has_rope_by_layer_type, rotary_by_layer_type, rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig


class Olmo2Family(LlamaFamily):
    """OLMo 2 (OLMo Team 2024). Attention and MLP read the residual stream itself."""

    model_type = "olmo2"
    norms: Mapping[str, str] = {
        "attention_post_norm.gain": "post_attention_layernorm.weight",
        "mlp_post_norm.gain": "post_feedforward_layernorm.weight",
    }

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-5),
            "input_norms": False,
            "post_norms": True,
            "query_key_norm": "rms_of_projection",
        }


_TWO_READINGS = "versions of transformers differ in what another means. Say it in rope_parameters, by type of layer"


class Olmo3Family(Olmo2Family):
    """OLMo 3 (2025): three of four layers have a window, and only the others have stretched positions."""

    model_type = "olmo3"

    def rotary_by_layer(self, hf_config: Mapping[str, Any], d_head: int) -> tuple[RotaryConfig | None, ...]:
        """See the base class."""
        if has_rope_by_layer_type(hf_config):
            everywhere, within = rotary_by_layer_type(hf_config, d_head, default_base=5e5)
        else:
            refuse(hf_config, "rope_theta", 500000, reason=_TWO_READINGS)
            everywhere = rotary_config(hf_config, d_head, default_base=5e5)
            within = RotaryConfig(n_channels=everywhere.n_channels, base=everywhere.base)
        return tuple(within if slides else everywhere for slides in kinds_of_layers(hf_config, _by_default(hf_config)))

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
    return in_every_layer_but_each(4, required(hf_config, "num_hidden_layers"))
