"""Gemma 2: like Llama, with norms after attention and MLP, soft-capped logits, and a window in every other layer."""

import math
from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.family import refuse, required
from neuron_explainer.models.families.llama import LlamaFamily, windows_by_layer


class Gemma2Family(LlamaFamily):
    """Gemma 2 (Gemma Team 2024).

    Each gain is stored minus 1. The embedding is multiplied by sqrt(d_model), and attention logits by
    query_pre_attn_scalar^(-1/2), independent of d_head; recorded queries and keys are each multiplied by
    query_pre_attn_scalar^(-1/4).
    """

    model_type = "gemma2"
    ties_by_default = True
    default_d_head = 256
    norms: Mapping[str, str] = {
        "attention_norm.gain": "input_layernorm.weight",
        "attention_post_norm.gain": "post_attention_layernorm.weight",
        "mlp_norm.gain": "pre_feedforward_layernorm.weight",
        "mlp_post_norm.gain": "post_feedforward_layernorm.weight",
    }

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        refuse(hf_config, "use_bidirectional_attention", False)
        n_layers = required(hf_config, "num_hidden_layers")
        scale = 1 / math.sqrt(hf_config.get("query_pre_attn_scalar", 256))
        return {
            "activation_function": hf_config.get("hidden_activation") or "gelu_pytorch_tanh",
            "norm_gain_offset": 1.0,
            "post_norms": True,
            "attention_scale_by_layer": (scale,) * n_layers,
            "attention_softcap": hf_config.get("attn_logit_softcapping", 50.0),
            "logits_softcap": hf_config.get("final_logit_softcapping", 30.0),
            "embedding_scale": math.sqrt(required(hf_config, "hidden_size")),
            "sliding_window_by_layer": windows_by_layer(
                {"sliding_window": 4096, **hf_config}, [layer % 2 == 0 for layer in range(n_layers)]
            ),
        }
