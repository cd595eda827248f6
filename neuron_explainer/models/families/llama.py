"""Llama and similar families: RMSNorm, rotary embedding, grouped-query attention, gated MLP.

SmolLM2 and TinyLlama have this type. Other families derive from it and give only their differences.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from neuron_explainer.models.families.config_entries import USUAL_ENTRIES
from neuron_explainer.models.families.family import Family, TensorSource, refuse, required
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer_config import TransformerConfig

_LAYER_MATRICES = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "mlp.input": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.output": "mlp.down_proj",
}


class LlamaFamily(Family):
    """Llama 1 to 3 (Touvron et al. 2023 and later).

    Attributes:
        norms: for each norm's gain in a layer, its tensor; without the norms of queries and keys.
        matrices: for each linear map in a layer, the prefix of its tensors.
        ties_by_default: whether the unembedding is the embedding if the config does not say.
        share_rotated: see `rotary_config`.
        default_d_head: the number of channels of a head if the config does not say; None means that the heads share
            the residual stream's channels.
        rotates_neighbours: whether neighbouring channels are paired by the rotary embedding.
    """

    model_type = "llama"
    base_prefix = "model."
    entries = USUAL_ENTRIES
    ignored: tuple[str, ...] = (
        r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
        r"(model\.)?rotary_emb\.inv_freq",
    )
    norms: Mapping[str, str] = {
        "attention_norm.gain": "input_layernorm.weight",
        "mlp_norm.gain": "post_attention_layernorm.weight",
    }
    matrices: Mapping[str, str] = _LAYER_MATRICES
    ties_by_default = False
    share_rotated: float | None = None
    default_d_head: int | None = None
    rotates_neighbours = False

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        d_model, n_heads = required(hf_config, "hidden_size"), required(hf_config, "num_attention_heads")
        d_head = self.d_head(hf_config)
        rotary_by_layer = self.rotary_by_layer(hf_config, d_head)
        common = {
            "model_type": self.model_type,
            "n_layers": required(hf_config, "num_hidden_layers"),
            "n_heads": n_heads,
            "n_key_value_heads": hf_config.get("num_key_value_heads") or n_heads,
            "d_model": d_model,
            "d_head": d_head,
            "d_mlp": required(hf_config, "intermediate_size"),
            "vocab_size": required(hf_config, "vocab_size"),
            "max_context_length": required(hf_config, "max_position_embeddings"),
            "norm_kind": "rms_norm",
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-6),
            "activation_function": hf_config.get("hidden_act") or "silu",
            "gated_mlp": True,
            "rotary": None if rotary_by_layer else self.rotary(hf_config, d_head),
            "rotary_by_layer": rotary_by_layer,
            "qkv_bias": bool(hf_config.get("attention_bias", False)),
            "attention_output_bias": bool(hf_config.get("attention_bias", False)),
            "mlp_bias": False,
            "tied_unembedding": hf_config.get("tie_word_embeddings", self.ties_by_default),
        }
        return TransformerConfig(**{**common, **self.differences(hf_config)})

    def d_head(self, hf_config: Mapping[str, Any]) -> int:
        """The number of channels of a head."""
        shared = required(hf_config, "hidden_size") // required(hf_config, "num_attention_heads")
        return int(hf_config.get("head_dim") or self.default_d_head or shared)

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """The rotary embedding of all layers that have one."""
        return rotary_config(
            hf_config, d_head, share_rotated=self.share_rotated, is_interleaved=self.rotates_neighbours
        )

    def rotary_by_layer(self, hf_config: Mapping[str, Any], d_head: int) -> tuple[RotaryConfig | None, ...]:
        """Each layer's rotary embedding, None for a layer without positions; empty if all layers have the same."""
        return ()

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `TransformerConfig` in which the family differs from Llama."""
        refuse(hf_config, "pretraining_tp", 1)
        return {"mlp_bias": bool(hf_config.get("mlp_bias", False))}

    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """See the base class."""
        sources = {
            "embedding": TensorSource("model.embed_tokens.weight"),
            "final_norm.gain": TensorSource("model.norm.weight"),
        }
        if config.norm_has_bias:
            sources["final_norm.bias"] = TensorSource("model.norm.bias")
        if not config.tied_unembedding:
            sources["unembedding"] = TensorSource(self.unembedding_name)
        return sources

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        names = dict(self.norms)
        if config.shared_norm:
            del names["mlp_norm.gain"]
        if config.norm_has_bias:
            names |= {ours.replace("gain", "bias"): theirs.replace("weight", "bias") for ours, theirs in names.items()}
        if config.query_key_norm:
            names["attention.query_norm.gain"] = "self_attn.q_norm.weight"
            names["attention.key_norm.gain"] = "self_attn.k_norm.weight"
        for ours, theirs in self.matrices.items():
            names[f"{ours}_weight"] = f"{theirs}.weight"
            if _has_bias(ours, config):
                names[f"{ours}_bias"] = f"{theirs}.bias"
        return {ours: TensorSource(f"model.layers.{layer}.{theirs}") for ours, theirs in names.items()}


def _has_bias(matrix: str, config: TransformerConfig) -> bool:
    if matrix.startswith("mlp."):
        return config.mlp_bias
    return config.attention_output_bias if matrix == "attention.output" else config.qkv_bias


def kinds_of_layers(hf_config: Mapping[str, Any], slides_by_default: Sequence[bool]) -> list[bool]:
    """Whether each layer has a window: by `layer_types`, or if the config has none, by default."""
    types = hf_config.get("layer_types")  # the two that there are: see `config_entries`
    return list(slides_by_default) if types is None else [kind == "sliding_attention" for kind in types]


def windows_by_layer(hf_config: Mapping[str, Any], slides_by_default: Sequence[bool]) -> tuple[int | None, ...]:
    """Each layer's sliding window, from `sliding_window` and, if the config has it, `layer_types`.

    Args:
        hf_config: the config's entries.
        slides_by_default: which layers have the window if the config does not say.
    """
    window = hf_config.get("sliding_window")
    return tuple(window if slides else None for slides in kinds_of_layers(hf_config, slides_by_default))


def window_everywhere(hf_config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The same window in each layer: `sliding_window`, in a family that does not read `layer_types`."""
    return (hf_config.get("sliding_window"),) * int(required(hf_config, "num_hidden_layers"))


def in_every_layer_but_each(period: int, n_layers: int) -> list[bool]:
    """True for every layer except each `period`-th."""
    return [bool((layer + 1) % period) for layer in range(n_layers)]
