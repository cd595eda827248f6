"""gpt-oss: experts with biases and clamped gates, and heads with a sink that takes a share of the attention."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from neuron_explainer.models.families.family import TensorSource, refuse, required
from neuron_explainer.models.families.like_llama.experts import MATRICES_OF_ATTENTION, entries_of_experts
from neuron_explainer.models.families.llama import LlamaFamily, in_every_layer_but_each, windows_by_layer
from neuron_explainer.models.families.read_entries import with_defaults
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.layers.mlp import ACTIVATION_FUNCTIONS
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer_config import TransformerConfig

_DEFAULT_ROPE = {
    "rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
    "truncate": False, "original_max_position_embeddings": 4096,
}  # fmt: skip


class GptOssFamily(LlamaFamily):
    """gpt-oss (OpenAI 2025). Every other layer has a window, beginning with the first."""

    model_type = "gpt_oss"
    default_d_head = 64
    matrices = MATRICES_OF_ATTENTION
    harmless_entries = frozenset({"experts_per_token", "initial_context_length"})  # others say the same

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class."""
        is_given = hf_config.get("rope_parameters") or hf_config.get("rope_scaling")
        entries = hf_config if is_given else with_defaults(hf_config, {"rope_parameters": _DEFAULT_ROPE})
        return rotary_config(entries, d_head, default_base=150000.0)

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        activation = hf_config.get("hidden_act") or "silu"
        if activation in ACTIVATION_FUNCTIONS:  # any other is refused for every family
            refuse(hf_config, "hidden_act", "silu", "swish")  # the formula of `transformers` has SiLU, whatever it says
        has_bias = bool(hf_config.get("attention_bias", True))
        n_layers = required(hf_config, "num_hidden_layers")
        return {
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-5),
            **entries_of_experts(hf_config, required(hf_config, "intermediate_size"), "softmax_of_chosen"),
            "router_bias": True,
            "mlp_bias": True,
            "activation_function": activation,
            "activation_gain": hf_config.get("swiglu_alpha", 1.702),
            "gate_limit": hf_config.get("swiglu_limit", 7.0),
            "up_offset": 1.0,
            "attention_sinks": True,
            "qkv_bias": has_bias,
            "attention_output_bias": has_bias,
            "sliding_window_by_layer": windows_by_layer(
                with_defaults(hf_config, {"sliding_window": 128}), in_every_layer_but_each(2, n_layers)
            ),
        }

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        prefix = f"model.layers.{layer}."
        sources = super().layer_sources(config, layer)
        sources["attention.sinks"] = TensorSource(f"{prefix}self_attn.sinks")
        for kind in ("weight", "bias"):
            sources[f"mlp.router_{kind}"] = TensorSource(f"{prefix}mlp.router.{kind}")
        for expert in range(config.n_experts):
            for ours, (theirs, columns) in _MATRICES.items():
                name, parameter = f"{prefix}mlp.experts.{theirs}", f"mlp.experts.{expert}.{ours}"
                own = f"{prefix}mlp.experts.{expert}.{_OWN_NAMES[ours]}"
                sources[f"{parameter}_weight"] = TensorSource(
                    name, partial(_matrix, expert=expert, columns=columns), TensorSource(f"{own}.weight")
                )
                sources[f"{parameter}_bias"] = TensorSource(
                    f"{name}_bias", partial(_bias, expert=expert, columns=columns), TensorSource(f"{own}.bias")
                )
        return sources


_MATRICES = {
    "input": ("gate_up_proj", slice(0, None, 2)),
    "up": ("gate_up_proj", slice(1, None, 2)),
    "output": ("down_proj", slice(None)),
}
"""For each linear map of an expert, the tensor of all experts, and its columns there: gate and up take turns."""
_OWN_NAMES = {"input": "gate_proj", "up": "up_proj", "output": "down_proj"}
"""The same for a checkpoint in which each expert has tensors of its own, as in GGUF files."""


def _matrix(stacked: Tensor, expert: int, columns: slice) -> Tensor:
    return stacked[expert, :, columns].transpose(0, 1)


def _bias(stacked: Tensor, expert: int, columns: slice) -> Tensor:
    return stacked[expert, columns]
