"""Gemma 2 and 3: like Llama, with norms after attention and MLP, and windows in some layers."""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from neuron_explainer.errors import MissingTensorError
from neuron_explainer.models.families.family import TensorSource, refuse, required
from neuron_explainer.models.families.llama import (
    LlamaFamily,
    in_every_layer_but_each,
    kinds_of_layers,
    windows_by_layer,
)
from neuron_explainer.models.families.read_entries import part_of_config, with_defaults
from neuron_explainer.models.families.rope import has_rope_by_layer_type, rotary_by_layer_type, rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer_config import TransformerConfig


class Gemma2Family(LlamaFamily):
    """Gemma 2 (Gemma Team 2024).

    Each gain is stored minus 1. The embedding is multiplied by sqrt(d_model), and attention logits by
    query_pre_attn_scalar^(-1/2), independent of d_head; recorded queries and keys are each multiplied by
    query_pre_attn_scalar^(-1/4).
    """

    model_type = "gemma2"
    default_d_head = 256
    ties_by_default = True
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
                with_defaults(hf_config, {"sliding_window": 4096}), [layer % 2 == 0 for layer in range(n_layers)]
            ),
        }


class Gemma3TextFamily(Gemma2Family):
    """Gemma 3 (Gemma Team 2025), models of text alone.

    As Gemma 2, without soft caps; queries and keys are normalised, and the layers with a window have a rotary embedding
    of their own.
    """

    model_type = "gemma3_text"

    def rotary_by_layer(self, hf_config: Mapping[str, Any], d_head: int) -> tuple[RotaryConfig | None, ...]:
        """See the base class."""
        if has_rope_by_layer_type(hf_config):
            everywhere, within = rotary_by_layer_type(hf_config, d_head)
        else:  # older configs: `rope_theta` and `rope_scaling` are of the layers that attend everywhere
            everywhere = rotary_config(hf_config, d_head, default_base=1e6)
            local = {"rope_theta": hf_config.get("rope_local_base_freq", 10000.0), "model_type": self.model_type}
            within = rotary_config(local, d_head)
        return tuple(within if slides else everywhere for slides in kinds_of_layers(hf_config, _by_default(hf_config)))

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        refuse(hf_config, "attn_logit_softcapping")  # `transformers` reads it and does not apply it
        return {
            **super().differences(hf_config),
            "attention_softcap": None,
            "logits_softcap": hf_config.get("final_logit_softcapping"),
            "query_key_norm": "rms_by_head",
            "sliding_window_by_layer": windows_by_layer(
                with_defaults(hf_config, {"sliding_window": 4096}), _by_default(hf_config)
            ),
        }


def _by_default(hf_config: Mapping[str, Any]) -> list[bool]:
    """Which layers of Gemma 3 have a window if the config has no `layer_types`."""
    n_layers = required(hf_config, "num_hidden_layers")
    return in_every_layer_but_each(hf_config.get("sliding_window_pattern", 6), n_layers)


class Gemma3Family(Gemma3TextFamily):
    """Gemma 3 with images, of which the text part is used."""

    model_type = "gemma3"
    harmless_entries = frozenset({"vision_config", "mm_tokens_per_image"})
    base_prefix = "model."
    ignored = (
        *Gemma3TextFamily.ignored,
        r"(model\.)?(vision_tower|multi_modal_projector)\..*",
    )

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        required(hf_config, "text_config")
        text = part_of_config(hf_config, "text_config", self.entries, Gemma3TextFamily.model_type)
        refuse(text, "final_logit_softcapping", model_type=self.model_type)  # `transformers` does not apply it here
        tied = hf_config.get("tie_word_embeddings", text.get("tie_word_embeddings", True))
        whole = with_defaults({"model_type": self.model_type, "tie_word_embeddings": tied}, text)
        return super().config(with_defaults(whole, _GEMMA3_DEFAULTS))

    def find(self, name: str, available: Collection[str]) -> str:
        """As in the base class; files have the prefix of the language model before that of the layers."""
        try:
            return super().find(name, available)
        except MissingTensorError:
            in_file = re.sub(r"^model\.language_model\.", "language_model.model.", name)
            if in_file == name:
                in_file = f"language_model.{name}"  # the unembedding
            if in_file in available:
                return in_file
            raise

    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """See the base class."""
        return {ours: _in_language_model(source) for ours, source in super().outer_sources(config).items()}

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        return {ours: _in_language_model(source) for ours, source in super().layer_sources(config, layer).items()}


_GEMMA3_DEFAULTS = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
}
"""What the text part of a config leaves out: `transformers`' defaults."""


def _in_language_model(source: TensorSource) -> TensorSource:
    """The tensor's name in a model that has more than a language model."""
    name = source.name
    return TensorSource(name.replace("model.", "model.language_model.", 1), source.convert)
