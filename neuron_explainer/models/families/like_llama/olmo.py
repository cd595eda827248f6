"""OLMo 2 and 3: like Llama, with norms after attention and MLP instead of before, and norms of queries and keys."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import (
    LlamaFamily,
    in_every_layer_but_each,
    kinds_of_layers,
    windows_by_layer,
)
from neuron_explainer.models.families.rope import rotary_config
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


class Olmo3Family(Olmo2Family):
    """OLMo 3 (2025): three of four layers have a window, and only the others have stretched positions."""

    model_type = "olmo3"

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig | None:
        """See the base class."""
        return None

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        n_layers = required(hf_config, "num_hidden_layers")
        d_head = self.d_head(hf_config)
        by_default = in_every_layer_but_each(4, n_layers)
        if any(isinstance(each, Mapping) for each in (hf_config.get("rope_parameters") or {}).values()):
            everywhere, within = (
                rotary_config(hf_config, d_head, layer_type=kind, default_base=5e5)
                for kind in ("full_attention", "sliding_attention")
            )
        else:
            everywhere = rotary_config(hf_config, d_head, default_base=5e5)
            within = RotaryConfig(n_channels=everywhere.n_channels, base=everywhere.base)
        return {
            **super().differences(hf_config),
            "rotary_by_layer": tuple(
                within if slides else everywhere for slides in kinds_of_layers(hf_config, by_default)
            ),
            "sliding_window_by_layer": windows_by_layer({"sliding_window": 4096, **hf_config}, by_default),
        }
