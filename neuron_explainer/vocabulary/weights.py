"""The weights that have a name in every family."""

from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import NamedMembers

_CHANNELS = Dimension.RESIDUAL_STREAM_CHANNELS
_HEADS = Dimension.ATTN_HEADS
_NEURONS = Dimension.MLP_ACTS
_VOCABULARY = Dimension.VOCAB_SIZE
_ONCE = True


class WeightLocationType(NamedMembers):
    """A weight that has a name in every family. A row holds the value, the axes, and whether a model has it once.

    >>> [dimension.value for dimension in WeightLocationType.MLP_TO_RESIDUAL.shape]
    ['mlp_acts', 'residual_stream_channels']
    """

    shape: tuple[Dimension, ...]
    """The axes: heads first, inputs before outputs."""
    has_no_layers: bool
    """Whether a model has it once, and not in every layer."""

    def __new__(
        cls, value: str, shape: tuple[Dimension, ...] = (), has_no_layers: bool = False
    ) -> "WeightLocationType":
        """The member with that value and those properties. (Defaults are for type checkers, as in `Dimension`.)"""
        member = str.__new__(cls, value)
        member._value_ = value
        member.shape = shape
        member.has_no_layers = has_no_layers
        return member

    EMBEDDING = "embed", (_VOCABULARY, _CHANNELS), _ONCE
    POSITION_EMBEDDING = "pos_embed", (Dimension.MAX_CONTEXT_LENGTH, _CHANNELS), _ONCE
    UNEMBEDDING = "unembed", (_CHANNELS, _VOCABULARY), _ONCE
    ATTN_TO_QUERY = "attn.q_proj", (_HEADS, _CHANNELS, Dimension.QUERY_AND_KEY_CHANNELS)
    ATTN_TO_KEY = "attn.k_proj", (_HEADS, _CHANNELS, Dimension.QUERY_AND_KEY_CHANNELS)
    ATTN_TO_VALUE = "attn.v_proj", (_HEADS, _CHANNELS, Dimension.VALUE_CHANNELS)
    ATTN_TO_RESIDUAL = "attn.out_proj", (_HEADS, Dimension.VALUE_CHANNELS, _CHANNELS)
    MLP_TO_HIDDEN = "mlp.in_layer", (_CHANNELS, _NEURONS)
    MLP_TO_HIDDEN_UP = "mlp.up_layer", (_CHANNELS, _NEURONS)
    """The second input matrix of a gated MLP, whose output multiplies the activated gate. Other MLPs have only one."""
    MLP_TO_RESIDUAL = "mlp.out_layer", (_NEURONS, _CHANNELS)
    ATTN_INPUT_LAYER_NORM_GAIN = "attn_ln.gain", (_CHANNELS,)
    ATTN_INPUT_LAYER_NORM_BIAS = "attn_ln.bias", (_CHANNELS,)
    MLP_INPUT_LAYER_NORM_GAIN = "mlp_ln.gain", (_CHANNELS,)
    MLP_INPUT_LAYER_NORM_BIAS = "mlp_ln.bias", (_CHANNELS,)
    FINAL_LAYER_NORM_GAIN = "ln_f.gain", (_CHANNELS,), _ONCE
    FINAL_LAYER_NORM_BIAS = "ln_f.bias", (_CHANNELS,), _ONCE
