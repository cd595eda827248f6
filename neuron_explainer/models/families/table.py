"""Families whose tensors are a table: our parameter on the left, the checkpoint's tensor on the right."""

from collections.abc import Mapping
from types import MappingProxyType

from neuron_explainer.models.families.config_entries import USUAL_ENTRIES, ConfigEntry
from neuron_explainer.models.families.family import Family, TensorSource
from neuron_explainer.models.transformer_config import TransformerConfig


class TableFamily(Family):
    """A family that needs no more than names. Parameters that the config does not call for are left out.

    Attributes:
        layers: the prefix of a layer's tensors, with {} for its number.
        layer_tensors: for each parameter of a layer, its tensor.
        outer_tensors: for each parameter outside of the layers, its tensor; the unembedding's is `unembedding_name`.
    """

    entries: Mapping[str, ConfigEntry] = USUAL_ENTRIES
    layers: str
    layer_tensors: Mapping[str, str]
    outer_tensors: Mapping[str, str] = MappingProxyType({})

    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """See the base class."""
        tensors = {**self.outer_tensors, "unembedding": self.unembedding_name}
        return {ours: TensorSource(theirs) for ours, theirs in tensors.items() if is_called_for(ours, config)}

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        prefix = self.layers.format(layer)
        return {
            ours: TensorSource(prefix + theirs)
            for ours, theirs in self.layer_tensors.items()
            if is_called_for(ours, config)
        }


def is_called_for(parameter: str, config: TransformerConfig) -> bool:
    """Whether a model with this config has a parameter, named as within its layer."""
    norm, _, kind = parameter.rpartition(".")
    if norm.endswith("_norm"):
        exists = {
            "attention_norm": config.input_norms,
            "mlp_norm": config.input_norms and not config.shared_norm,
            "attention_post_norm": config.post_norms,
            "mlp_post_norm": config.post_norms,
            "attention.query_norm": config.query_key_norm is not None,
            "attention.key_norm": config.query_key_norm is not None,
        }.get(norm, True)
        return exists and (kind == "gain" or bool(config.norm_has_bias))
    if parameter.endswith("_bias"):
        if parameter.startswith("mlp."):
            return config.mlp_bias
        return {
            "attention.output_bias": config.attention_output_bias,
            "unembedding_bias": config.unembedding_bias,
        }.get(parameter, config.qkv_bias)
    return {
        "unembedding": not config.tied_unembedding,
        "position_embedding": config.learned_positions,
        "mlp.up_weight": config.gated_mlp,
    }.get(parameter, True)
