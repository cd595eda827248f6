"""GPT-Neo and TinyStories: learned positions, attention without a scale, a window in every other layer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError, shown
from neuron_explainer.models.families.config_entries import MOST_CHANNELS, MOST_LAYERS, USUAL_ENTRIES, size
from neuron_explainer.models.families.family import check_divides, required
from neuron_explainer.models.families.table import TableFamily
from neuron_explainer.models.transformer_config import TransformerConfig


class GPTNeoFamily(TableFamily):
    """GPT-Neo (Black et al. 2021)."""

    model_type = "gpt_neo"
    harmless_entries = frozenset({"attention_types"})  # beside attention_layers, which wins in `transformers` too
    base_prefix = "transformer."
    layers = "transformer.h.{}."
    entries = MappingProxyType(
        {
            **USUAL_ENTRIES,
            "num_layers": size(MOST_LAYERS),
            "num_heads": size(MOST_CHANNELS),
            "window_size": size(MOST_CHANNELS),
        }
    )
    ignored = (r"(transformer\.)?h\.\d+\.attn\.attention\.(bias|masked_bias)",)
    outer_tensors = MappingProxyType(
        {
            "embedding": "transformer.wte.weight",
            "position_embedding": "transformer.wpe.weight",
            "final_norm.gain": "transformer.ln_f.weight",
            "final_norm.bias": "transformer.ln_f.bias",
        }
    )
    layer_tensors = MappingProxyType(
        {
            "attention_norm.gain": "ln_1.weight",
            "attention_norm.bias": "ln_1.bias",
            "attention.query_weight": "attn.attention.q_proj.weight",
            "attention.key_weight": "attn.attention.k_proj.weight",
            "attention.value_weight": "attn.attention.v_proj.weight",
            "attention.output_weight": "attn.attention.out_proj.weight",
            "attention.output_bias": "attn.attention.out_proj.bias",
            "mlp_norm.gain": "ln_2.weight",
            "mlp_norm.bias": "ln_2.bias",
            "mlp.input_weight": "mlp.c_fc.weight",
            "mlp.input_bias": "mlp.c_fc.bias",
            "mlp.output_weight": "mlp.c_proj.weight",
            "mlp.output_bias": "mlp.c_proj.bias",
        }
    )

    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """See the base class."""
        d_model, n_heads = required(hf_config, "hidden_size"), required(hf_config, "num_heads")
        check_divides(d_model, n_heads)
        n_layers = required(hf_config, "num_layers")
        window = hf_config.get("window_size", 256)
        return TransformerConfig(
            model_type=self.model_type,
            n_layers=n_layers,
            n_heads=n_heads,
            n_key_value_heads=n_heads,
            d_model=d_model,
            d_head=d_model // n_heads,
            d_mlp=hf_config.get("intermediate_size") or 4 * d_model,
            vocab_size=required(hf_config, "vocab_size"),
            max_context_length=required(hf_config, "max_position_embeddings"),
            norm_kind="layer_norm",
            norm_epsilon=hf_config.get("layer_norm_epsilon", 1e-5),
            activation_function=hf_config.get("activation_function", "gelu_new"),
            learned_positions=True,
            attention_scale_by_layer=(1.0,) * n_layers,
            sliding_window_by_layer=tuple(
                window if kind == "local" else None for kind in _kinds_of_layers(hf_config, n_layers)
            ),
            qkv_bias=False,
            tied_unembedding=hf_config.get("tie_word_embeddings", True),
        )


def _kinds_of_layers(hf_config: Mapping[str, Any], n_layers: int) -> list[str]:
    """Which layers attend everywhere ("global"), and which within the window ("local").

    Raises:
        UnsupportedCheckpointError: a layer is of another kind, or there are more or fewer than layers.
    """
    kinds = hf_config.get("attention_layers")
    if kinds is None:
        kinds = []
        for pattern, times in hf_config.get("attention_types", [[["global", "local"], n_layers // 2]]):
            kinds += list(pattern[:n_layers]) * min(int(times), n_layers)
    unknown = [kind for kind in kinds if kind not in ("global", "local")]
    if unknown or len(kinds) != n_layers:
        raise UnsupportedCheckpointError(
            f"The gpt_neo config has {len(kinds)} kinds of attention for {n_layers} layers"
            f"{f', such as {shown(unknown[0])}' if unknown else ''}. Give 'global' or 'local' for each layer."
        )
    return list(kinds)
