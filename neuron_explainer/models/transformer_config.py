"""The description of a transformer of any supported family: sizes, and the options in which families differ."""

import math
from dataclasses import dataclass
from typing import Literal

from neuron_explainer.errors import MisconfiguredError, shown
from neuron_explainer.models.rotary_config import RotaryConfig, check_positive
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.dimensions import Dimension

NormKind = Literal["layer_norm", "rms_norm"]
QkvLayout = Literal["fused", "fused_by_head", "separate"]
RouterKind = Literal["softmax", "renormalised_softmax", "softmax_of_chosen"]
QueryKeyNorm = Literal["rms_by_head", "rms_of_projection", "layer_norm_by_head"]


_SIZES = (
    "n_layers", "n_heads", "n_key_value_heads", "d_model", "d_head", "d_mlp", "vocab_size", "max_context_length"
)  # fmt: skip


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
        norm_has_bias: whether norms have a bias; None means those of a LayerNorm.
        input_norms: whether attention and the MLP read the residual stream through a norm (olmo2 has none there).
        shared_norm: whether attention and the MLP read through the same norm (phi, gptj); then they are in parallel.
        activation_function: the neurons' activation function, a key of `layers.mlp.ACTIVATION_FUNCTIONS`.
        gated_mlp: whether a neuron is act(gate) * up rather than act(input).
        activation_gain: g in act(g * x) / g, the neurons' activation function (1.702 in gpt_oss).
        gate_limit: gates are at most this, and what they multiply is between it and its negative (gpt_oss).
        up_offset: added to what the gate multiplies (gpt_oss).
        n_experts: how many experts share the layer's neurons evenly; 0 for a single MLP.
        n_chosen_experts: how many experts a token is sent to.
        router_kind: how the router's weights come from its logits: by a softmax over all experts, of which the chosen
            ones are kept ("softmax") and made to sum to 1 ("renormalised_softmax"); or by a softmax over the chosen
            ones ("softmax_of_chosen").
        router_bias: whether the router's logits have a bias.
        attention_sinks: whether each head has a logit of its own beside those of the tokens, which takes its share of
            the attention (gpt_oss).
        parallel_residual: whether the MLP reads the residual stream before attention writes to it.
        learned_positions: whether a position embedding is added to the token embedding.
        rotary: the rotary embedding of queries and keys; None if there is none, or layers differ.
        rotary_by_layer: each layer's, where they differ; None for a layer without one. If it is not given, `rotary` is
            everywhere.
        attention_scale_by_layer: the factor of query · key, 1/sqrt(d_head) in most families. Recorded queries and keys
            are each multiplied by its square root.
        query_growth, query_growth_length: queries at position p have the factor 1 + growth * log(1 + p // length), so
            that the pattern stays sharp in long contexts; 0 for none.
        sliding_window_by_layer: how many tokens, itself included, a token may attend to; None means all up to itself.
        query_key_norm: how queries and keys are normalised before the rotary embedding: the channels of each head by
            one RMSNorm ("rms_by_head"), all channels of all heads together ("rms_of_projection"), or each head's by a
            LayerNorm whose gains differ by head ("layer_norm_by_head"). None: they are not.
        post_norms: whether the outputs of attention and of the MLP are normalised before they are added (gemma2).
        attention_softcap, logits_softcap: c in c * tanh(x / c), applied to attention logits and to logits.
        embedding_scale: the factor of the token embedding.
        rounds_embedding_scale: whether that factor is rounded to float32, and then to the model's dtype (gemma2).
        residual_multiplier: the factor of what attention and the MLP add to the residual stream.
        logits_scale: the factor of the logits.
        qkv_bias, attention_output_bias, mlp_bias, unembedding_bias: which linear maps have a bias.
        qkv_layout: how the query, key and value weights are stored: one matrix with all queries, all keys, all values
            ("fused"); one matrix with, for each key in turn, its queries, the key and the value ("fused_by_head"); or
            three matrices ("separate").
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
    norm_has_bias: bool | None = None
    input_norms: bool = True
    shared_norm: bool = False
    gated_mlp: bool = False
    activation_gain: float = 1.0
    gate_limit: float | None = None
    up_offset: float = 0.0
    n_experts: int = 0
    n_chosen_experts: int = 0
    router_kind: RouterKind = "softmax"
    router_bias: bool = False
    attention_sinks: bool = False
    parallel_residual: bool = False
    learned_positions: bool = False
    rotary: RotaryConfig | None = None
    rotary_by_layer: tuple[RotaryConfig | None, ...] = ()
    attention_scale_by_layer: tuple[float, ...] = ()
    query_growth: float = 0.0
    query_growth_length: int | None = None
    sliding_window_by_layer: tuple[int | None, ...] = ()
    query_key_norm: QueryKeyNorm | None = None
    post_norms: bool = False
    attention_softcap: float | None = None
    logits_softcap: float | None = None
    embedding_scale: float = 1.0
    rounds_embedding_scale: bool = True
    residual_multiplier: float = 1.0
    logits_scale: float = 1.0
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
        positive = ("norm_epsilon", "embedding_scale", "residual_multiplier", "logits_scale", "activation_gain")
        for name in (*positive, "attention_softcap", "logits_softcap", "gate_limit"):
            if getattr(self, name) is not None or name == "norm_epsilon":
                check_positive(name, getattr(self, name))
        if self.norm_has_bias is None:
            object.__setattr__(self, "norm_has_bias", self.norm_kind == "layer_norm")
        if self.shared_norm and not self.parallel_residual:
            raise MisconfiguredError("shared_norm needs parallel_residual: one norm reads one place.")
        if not self.rotary_by_layer:
            object.__setattr__(self, "rotary_by_layer", (self.rotary,) * self.n_layers)
        for rotary in set(self.rotary_by_layer):
            if rotary is not None and rotary.n_channels > self.d_head:
                raise MisconfiguredError(
                    f"{rotary.n_channels} channels of each head are rotated, but a head has {self.d_head}."
                )
        if self.n_heads % self.n_key_value_heads:
            raise MisconfiguredError(
                f"{self.n_heads} heads cannot share {self.n_key_value_heads} key/value heads evenly."
            )
        self._check_experts()
        if self.query_growth:
            check_positive("query_growth", self.query_growth)
            check_positive("query_growth_length", self.query_growth_length)
        if not self.attention_scale_by_layer:
            object.__setattr__(self, "attention_scale_by_layer", (1 / math.sqrt(self.d_head),) * self.n_layers)
        if not self.sliding_window_by_layer:
            object.__setattr__(self, "sliding_window_by_layer", (None,) * self.n_layers)
        for name in ("attention_scale_by_layer", "sliding_window_by_layer", "rotary_by_layer"):
            if len(getattr(self, name)) != self.n_layers:
                raise MisconfiguredError(
                    f"{name} has {len(getattr(self, name))} entries for {self.n_layers} layers. Give one per layer."
                )

        for scale in self.attention_scale_by_layer:
            check_positive("attention_scale_by_layer", scale)
        for window in self.sliding_window_by_layer:
            if window is not None and ((number := whole_number(window)) is None or number < 1):
                raise MisconfiguredError(f"A sliding window is {shown(window)}; it must be at least 1 token.")

    def _check_experts(self) -> None:
        for name in ("n_experts", "n_chosen_experts"):
            number = whole_number(getattr(self, name))
            if number is None or number < 0:
                raise MisconfiguredError(f"{name} is {shown(getattr(self, name))}; it must be a whole number.")
            object.__setattr__(self, name, number)
        if not self.n_experts:
            return
        if not 1 <= self.n_chosen_experts <= self.n_experts:
            raise MisconfiguredError(
                f"n_chosen_experts is {self.n_chosen_experts}; it must be from 1 to {self.n_experts}, the number of "
                "experts."
            )
        if self.d_mlp % self.n_experts:
            raise MisconfiguredError(f"{self.n_experts} experts cannot share {self.d_mlp} neurons evenly.")
        if self.mlp_bias and self.scales_writes:
            raise MisconfiguredError(
                "Experts with biases cannot be combined with post_norms or a residual_multiplier. Leave one out."
            )

    @property
    def scales_writes(self) -> bool:
        """Whether something multiplies what attention and the MLP give before it is added to the residual stream."""
        return self.post_norms or self.residual_multiplier != 1

    def layers_rotated_as_long(self, n_tokens: int) -> tuple[int, ...]:
        """The layers in which a text of so many tokens is one that longrope's `long_factors` are for."""
        return tuple(
            layer
            for layer, rotary in enumerate(self.rotary_by_layer)
            if rotary is not None and rotary.is_long(n_tokens)
        )

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
