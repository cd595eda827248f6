"""The description of a transformer of any supported family: sizes, and the options in which families differ."""

import math
from dataclasses import dataclass
from typing import Literal

from neuron_explainer.errors import MisconfiguredError, shown
from neuron_explainer.vocabulary.checks import finite_number, whole_number
from neuron_explainer.vocabulary.dimensions import Dimension

NormKind = Literal["layer_norm", "rms_norm"]
QkvLayout = Literal["fused", "fused_by_head", "separate"]


_SIZES = (
    "n_layers", "n_heads", "n_key_value_heads", "d_model", "d_head", "d_mlp", "vocab_size", "max_context_length"
)  # fmt: skip


def _check_positive(name: str, value: object) -> None:
    number = finite_number(value)
    if number is None or number <= 0:
        raise MisconfiguredError(f"{name} is {shown(value)}; it must be a number above 0.")


@dataclass(frozen=True, kw_only=True)
class RotaryConfig:
    """Rotary position embedding (Su et al. 2021): pairs of channels rotated by an angle that grows with the position.

    Attributes:
        n_channels: how many of a head's channels, from the first on, are rotated. Channel i is paired with channel
            i + n_channels / 2, so the number is even.
        base: the base of the angles ("theta"): pair i is rotated by position * base^(-2 i / n_channels) radians.
        scaling: how wavelengths are stretched for long contexts: not (None), all by `factor` ("linear"), or by Llama
            3's rule ("llama3": long ones by `factor`, short ones not at all, with a smooth step between).
        factor: the stretch.
        low_frequency_factor, high_frequency_factor, original_context_length: the other three constants of Llama 3.

    Raises:
        MisconfiguredError: the number of channels is odd, or a number is not positive and finite.
    """

    n_channels: int
    base: float = 10000.0
    scaling: Literal["linear", "llama3"] | None = None
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context_length: int = 8192

    def __post_init__(self) -> None:
        number = whole_number(self.n_channels)
        if number is None or number < 0 or number % 2:
            raise MisconfiguredError(
                f"{shown(self.n_channels)} channels of a head are rotated. The number must be even: they are rotated "
                "in pairs."
            )
        for name in ("base", "factor", "low_frequency_factor", "high_frequency_factor", "original_context_length"):
            _check_positive(f"The rotary embedding's {name}", getattr(self, name))
        if self.scaling == "llama3" and not self.low_frequency_factor < self.high_frequency_factor:
            raise MisconfiguredError(
                f"low_frequency_factor is {self.low_frequency_factor}; it must be below high_frequency_factor, "
                f"{self.high_frequency_factor}."
            )


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The config of a transformer of any family; `neuron_explainer.models.families` fills it from other configs.

    Attributes:
        model_type: the family's name in Hugging Face configs, such as "gpt2".
        n_layers, n_heads, n_key_value_heads, d_model, d_head, d_mlp, vocab_size, max_context_length: sizes. `d_mlp` is
            the number of neurons in a layer.
        norm_kind: how the residual stream is normalised.
        norm_epsilon: added to the variance (or mean square).
        norm_gain_offset: added to the stored gains (1 in gemma2, which stores each gain minus 1).
        activation_function: the neurons' activation function, a key of `layers.mlp.ACTIVATION_FUNCTIONS`.
        gated_mlp: whether a neuron is act(gate) * up rather than act(input).
        parallel_residual: whether the MLP reads the residual stream before attention writes to it.
        learned_positions: whether a position embedding is added to the token embedding.
        rotary: the rotary embedding of queries and keys; None if there is no rotary embedding.
        attention_scale_by_layer: the factor of query · key, 1/sqrt(d_head) in most families. Recorded queries and keys
            are each multiplied by its square root.
        sliding_window_by_layer: how many tokens, itself included, a token may attend to; None means all up to itself.
        query_key_norm: whether the queries and keys of each head are RMS-normalised before the rotary embedding.
        post_norms: whether the outputs of attention and of the MLP are normalised before they are added (gemma2).
        attention_softcap, logits_softcap: c in c * tanh(x / c), applied to attention logits and to logits.
        embedding_scale: the factor of the token embedding.
        qkv_bias, attention_output_bias, mlp_bias, unembedding_bias: which linear maps have a bias.
        qkv_layout: how the query, key and value weights are stored: one matrix with all queries, all keys, all values
            ("fused"); one matrix with query, key, value of head after head ("fused_by_head"); or three matrices
            ("separate").
        tied_unembedding: whether the unembedding is the token embedding.

    Raises:
        MisconfiguredError: a size is not a whole number above 0, a scale, cap or epsilon is not positive and finite, or
            sizes contradict each other.
    """

    model_type: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab_size: int
    max_context_length: int
    norm_kind: NormKind
    norm_epsilon: float
    activation_function: str
    norm_gain_offset: float = 0.0
    gated_mlp: bool = False
    parallel_residual: bool = False
    learned_positions: bool = False
    rotary: RotaryConfig | None = None
    attention_scale_by_layer: tuple[float, ...] = ()
    sliding_window_by_layer: tuple[int | None, ...] = ()
    query_key_norm: bool = False
    post_norms: bool = False
    attention_softcap: float | None = None
    logits_softcap: float | None = None
    embedding_scale: float = 1.0
    qkv_bias: bool = True
    attention_output_bias: bool = True
    mlp_bias: bool = True
    unembedding_bias: bool = False
    qkv_layout: QkvLayout = "separate"
    tied_unembedding: bool = False

    def __post_init__(self) -> None:
        for name in _SIZES:
            number = whole_number(getattr(self, name))
            if number is None or number < 1:
                raise MisconfiguredError(f"{name} is {shown(getattr(self, name))}; it must be at least 1.")
            object.__setattr__(self, name, number)
        for name in ("norm_epsilon", "embedding_scale", "attention_softcap", "logits_softcap"):
            if getattr(self, name) is not None or name == "norm_epsilon":
                _check_positive(name, getattr(self, name))
        if self.rotary is not None and self.rotary.n_channels > self.d_head:
            raise MisconfiguredError(
                f"{self.rotary.n_channels} channels of each head are rotated, but a head has {self.d_head}."
            )
        if self.n_heads % self.n_key_value_heads:
            raise MisconfiguredError(
                f"{self.n_heads} heads cannot share {self.n_key_value_heads} key/value heads evenly."
            )
        if not self.attention_scale_by_layer:
            object.__setattr__(self, "attention_scale_by_layer", (1 / math.sqrt(self.d_head),) * self.n_layers)
        if not self.sliding_window_by_layer:
            object.__setattr__(self, "sliding_window_by_layer", (None,) * self.n_layers)
        for name in ("attention_scale_by_layer", "sliding_window_by_layer"):
            if len(getattr(self, name)) != self.n_layers:
                raise MisconfiguredError(
                    f"{name} has {len(getattr(self, name))} entries for {self.n_layers} layers. Give one per layer."
                )

        for scale in self.attention_scale_by_layer:
            _check_positive("attention_scale_by_layer", scale)
        for window in self.sliding_window_by_layer:
            if window is not None and ((number := whole_number(window)) is None or number < 1):
                raise MisconfiguredError(f"A sliding window is {shown(window)}; it must be at least 1 token.")

    def size_of(self, dimension: Dimension) -> int | None:
        """The length of an axis; None if it depends on the prompt or on an autoencoder."""
        return {
            Dimension.ATTN_HEADS: self.n_heads,
            Dimension.QUERY_AND_KEY_CHANNELS: self.d_head,
            Dimension.VALUE_CHANNELS: self.d_head,
            Dimension.MLP_ACTS: self.d_mlp,
            Dimension.RESIDUAL_STREAM_CHANNELS: self.d_model,
            Dimension.VOCAB_SIZE: self.vocab_size,
            Dimension.MAX_CONTEXT_LENGTH: self.max_context_length,
            Dimension.SINGLETON: 1,
        }.get(dimension)
