"""Families that are Llama with LayerNorm: StableLM and StarCoder 2."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.models.families.config_entries import USUAL_ENTRIES, positive
from neuron_explainer.models.families.family import refuse
from neuron_explainer.models.families.llama import LlamaFamily, window_everywhere


class StableLMFamily(LlamaFamily):
    """StableLM (Bellagente et al. 2024): a quarter of the channels is rotated."""

    model_type = "stablelm"
    share_rotated = 0.25

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        refuse(hf_config, "qk_layernorm", False)
        is_parallel = bool(hf_config.get("use_parallel_residual", False))
        return {
            "norm_kind": "layer_norm",
            "norm_epsilon": hf_config.get("layer_norm_eps", 1e-5),
            "parallel_residual": is_parallel,
            "shared_norm": is_parallel,
            "qkv_bias": bool(hf_config.get("use_qkv_bias", False)),
            "attention_output_bias": False,
        }


class Starcoder2Family(LlamaFamily):
    """StarCoder 2 (Lozhkov et al. 2024): a plain MLP, biases everywhere, a window in every layer."""

    model_type = "starcoder2"
    ties_by_default = True
    entries = MappingProxyType({**USUAL_ENTRIES, "norm_epsilon": positive()})
    matrices: Mapping[str, str] = {
        **{ours: theirs for ours, theirs in LlamaFamily.matrices.items() if not ours.startswith("mlp.")},
        "mlp.input": "mlp.c_fc",
        "mlp.output": "mlp.c_proj",
    }

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        has_bias = bool(hf_config.get("use_bias", True))
        return {
            "norm_kind": "layer_norm",
            "norm_epsilon": hf_config.get("norm_epsilon", 1e-5),
            "activation_function": hf_config.get("hidden_act") or "gelu_pytorch_tanh",
            "gated_mlp": False,
            "qkv_bias": has_bias,
            "attention_output_bias": has_bias,
            "mlp_bias": has_bias,
            "sliding_window_by_layer": window_everywhere(hf_config),
        }
