"""The weights that have a name in every family."""

from enum import StrEnum

from neuron_explainer.vocabulary.dimensions import Dimension


class WeightLocationType(StrEnum):
    """The weights that have a name in every family; `shape` gives each one's axes, heads first."""

    EMBEDDING = "embed"
    POSITION_EMBEDDING = "pos_embed"
    UNEMBEDDING = "unembed"
    ATTN_TO_QUERY = "attn.q_proj"
    ATTN_TO_KEY = "attn.k_proj"
    ATTN_TO_VALUE = "attn.v_proj"
    ATTN_TO_RESIDUAL = "attn.out_proj"
    MLP_TO_HIDDEN = "mlp.in_layer"
    MLP_TO_HIDDEN_UP = "mlp.up_layer"
    """The second input matrix of a gated MLP, whose output multiplies the activated gate; others have none."""
    MLP_TO_RESIDUAL = "mlp.out_layer"
    ATTN_INPUT_LAYER_NORM_GAIN = "attn_ln.gain"
    ATTN_INPUT_LAYER_NORM_BIAS = "attn_ln.bias"
    MLP_INPUT_LAYER_NORM_GAIN = "mlp_ln.gain"
    MLP_INPUT_LAYER_NORM_BIAS = "mlp_ln.bias"
    FINAL_LAYER_NORM_GAIN = "ln_f.gain"
    FINAL_LAYER_NORM_BIAS = "ln_f.bias"

    @property
    def has_no_layers(self) -> bool:
        """Whether a model has one of it, and not one a layer."""
        return self in (
            WeightLocationType.EMBEDDING,
            WeightLocationType.POSITION_EMBEDDING,
            WeightLocationType.UNEMBEDDING,
            WeightLocationType.FINAL_LAYER_NORM_GAIN,
            WeightLocationType.FINAL_LAYER_NORM_BIAS,
        )

    @property
    def shape(self) -> tuple[Dimension, ...]:
        """Its axes, inputs before outputs."""
        return _SHAPE_BY_WEIGHT[self]


_HEADS = Dimension.ATTN_HEADS
_RESIDUAL = Dimension.RESIDUAL_STREAM_CHANNELS
_WEIGHT = WeightLocationType

_SHAPE_BY_WEIGHT: dict[WeightLocationType, tuple[Dimension, ...]] = {
    _WEIGHT.EMBEDDING: (Dimension.VOCAB_SIZE, _RESIDUAL),
    _WEIGHT.POSITION_EMBEDDING: (Dimension.MAX_CONTEXT_LENGTH, _RESIDUAL),
    _WEIGHT.UNEMBEDDING: (_RESIDUAL, Dimension.VOCAB_SIZE),
    _WEIGHT.ATTN_TO_QUERY: (_HEADS, _RESIDUAL, Dimension.QUERY_AND_KEY_CHANNELS),
    _WEIGHT.ATTN_TO_KEY: (_HEADS, _RESIDUAL, Dimension.QUERY_AND_KEY_CHANNELS),
    _WEIGHT.ATTN_TO_VALUE: (_HEADS, _RESIDUAL, Dimension.VALUE_CHANNELS),
    _WEIGHT.ATTN_TO_RESIDUAL: (_HEADS, Dimension.VALUE_CHANNELS, _RESIDUAL),
    _WEIGHT.MLP_TO_HIDDEN: (_RESIDUAL, Dimension.MLP_ACTS),
    _WEIGHT.MLP_TO_HIDDEN_UP: (_RESIDUAL, Dimension.MLP_ACTS),
    _WEIGHT.MLP_TO_RESIDUAL: (Dimension.MLP_ACTS, _RESIDUAL),
    **{weight: (_RESIDUAL,) for weight in _WEIGHT if weight.value.endswith((".gain", ".bias"))},
}
