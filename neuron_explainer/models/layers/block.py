"""One layer: attention and MLP, each reading the residual stream through a norm and writing to it."""

from jaxtyping import Float
from torch import Tensor, nn

from neuron_explainer.models.hooks.taps import NO_TAPS, Taps, at_place
from neuron_explainer.models.layers.attention import Attention
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.layers.norms import Norm, build_input_norm, build_norm
from neuron_explainer.models.layers.post_norm import PostNorm
from neuron_explainer.models.layers.rotary import RotaryEmbedding
from neuron_explainer.models.layers.routed import Neurons, dense
from neuron_explainer.models.layers.span import Span
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.nodes import AttnSubNode
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


def residual_before(layer: int) -> tuple[ActivationLocationType, int | None]:
    """The place and layer of the residual stream that a layer reads; for the number of layers, the last one."""
    return (_PLACE.RESID_POST_MLP, layer - 1) if layer else (_PLACE.RESID_POST_EMBEDDING, None)


class Block(nn.Module):
    """A layer: as a whole (`forward`), or part by part.

    The parts are pure functions without recordings and interventions, for recomputing a part of the pass. They return
    what would be recorded, and gradients flow through them to their arguments.
    """

    def __init__(self, config: TransformerConfig, layer: int, rotary: RotaryEmbedding | None) -> None:
        super().__init__()
        self.layer = layer
        self.parallel_residual = config.parallel_residual
        self.residual_multiplier = config.residual_multiplier
        self.attention_norm = build_input_norm(config)
        self.attention = Attention(config, layer, rotary)
        self.attention_post_norm = build_norm(config, config.d_model) if config.post_norms else None
        self.mlp_norm = self.attention_norm if config.shared_norm else build_input_norm(config)
        self.mlp = MixtureOfExperts(config) if config.n_experts else MLP(config)
        self.mlp_post_norm = build_norm(config, config.d_model) if config.post_norms else None

    @property
    def attention_reads_from(self) -> tuple[ActivationLocationType, int | None]:
        """The place and layer of the residual stream that attention reads: the end of the previous layer."""
        return residual_before(self.layer)

    @property
    def mlp_reads_from(self) -> tuple[ActivationLocationType, int | None]:
        """The place and layer of the residual stream that the MLP reads: after attention, or the same as attention."""
        return self.attention_reads_from if self.parallel_residual else (_PLACE.RESID_POST_ATTN, self.layer)

    def forward(
        self, resid: Float[Tensor, "batch tokens d_model"], span: Span, taps: Taps = NO_TAPS
    ) -> Float[Tensor, "batch tokens d_model"]:
        """The residual stream after the layer; places on the way are tapped."""
        normed = self.attention_norm.tapped(
            resid, taps, _PLACE.ATTN_INPUT_LAYER_NORM_SCALE, _PLACE.RESID_POST_MLP_LAYER_NORM
        )
        delta = self._added(self.attention(normed, span, taps), self.attention_post_norm)
        after_attention = at_place(taps, _PLACE.RESID_POST_ATTN, resid + at_place(taps, _PLACE.RESID_DELTA_ATTN, delta))
        normed = self.mlp_norm.tapped(
            resid if self.parallel_residual else after_attention,
            taps,
            _PLACE.MLP_INPUT_LAYER_NORM_SCALE,
            _PLACE.RESID_POST_ATTN_LAYER_NORM,
        )
        delta = self._added(self.mlp(normed, taps), self.mlp_post_norm)
        return at_place(taps, _PLACE.RESID_POST_MLP, after_attention + at_place(taps, _PLACE.RESID_DELTA_MLP, delta))

    def _added(
        self, output: Tensor, post_norm: Norm | None, detach_scale: bool = False
    ) -> Float[Tensor, "*axes d_model"]:
        """What is added to the residual stream for an output of attention or the MLP."""
        delta: Tensor = output if post_norm is None else post_norm(output, detach_scale)
        return delta if self.residual_multiplier == 1 else delta * self.residual_multiplier

    def attention_input(
        self, resid: Float[Tensor, "*axes d_model"], detach_scale: bool = False
    ) -> Float[Tensor, "*axes d_model"]:
        """The normalised input of attention, from the residual stream at `attention_reads_from`."""
        return self.attention_norm(resid, detach_scale)

    def mlp_input(
        self, resid: Float[Tensor, "*axes d_model"], detach_scale: bool = False
    ) -> Float[Tensor, "*axes d_model"]:
        """The normalised input of the MLP, from the residual stream at `mlp_reads_from`."""
        return self.mlp_norm(resid, detach_scale)

    def queries(
        self,
        normed: Float[Tensor, "batch tokens d_model"],
        first_position: int = 0,
        n_positions: int | None = None,
        detach_scale: bool = False,
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """ATTN_QUERY: normalised, rotated and scaled as recorded.

        Args:
            normed: what attention reads.
            first_position: the first token's position.
            n_positions: how many positions the pass had that recorded; None if these tokens are its last.
            detach_scale: whether the scale of the norm of queries, if there is one, is held constant.
        """
        raw = self.attention.project_part(AttnSubNode.Q, normed)
        span = _span_of(normed, first_position, n_positions)
        return self.attention.placed_queries(raw, span, detach_scale) * self.attention.root_scale

    def keys(
        self,
        normed: Float[Tensor, "batch tokens d_model"],
        first_position: int = 0,
        n_positions: int | None = None,
        detach_scale: bool = False,
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """ATTN_KEY: normalised, rotated, scaled and repeated as recorded. The arguments are those of `queries`."""
        raw = self.attention.project_part(AttnSubNode.K, normed)
        placed = self.attention.placed_keys(raw, _span_of(normed, first_position, n_positions), detach_scale)
        return self.attention.repeated(placed) * self.attention.root_scale

    def values(self, normed: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens heads d_head"]:
        """ATTN_VALUE: repeated as recorded."""
        return self.attention.repeated(self.attention.project_part(AttnSubNode.V, normed))

    def qk_logits(
        self,
        queries: Float[Tensor, "batch tokens heads d_head"],
        keys: Float[Tensor, "batch tokens heads d_head"],
    ) -> Float[Tensor, "batch tokens attended_to heads"]:
        """ATTN_QK_LOGITS from queries and keys as recorded: soft-capped if the family does so, masked with -inf."""
        span = Span(queries.shape[1], queries.device)
        return self.attention.logits(queries, keys, span).permute(0, 2, 3, 1)

    def qk_probs(
        self, logits: Float[Tensor, "batch tokens attended_to heads"]
    ) -> Float[Tensor, "batch tokens attended_to heads"]:
        """ATTN_QK_PROBS from logits as recorded."""
        return self.attention.pattern(logits.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def mlp_pre_act(self, normed: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes neurons"]:
        """MLP_PRE_ACT: the input of the activation function; of a gated MLP, the gate."""
        return dense(self.mlp.pre_act(normed))

    def mlp_post_act(self, normed: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes neurons"]:
        """MLP_POST_ACT: the neurons' activations; of a gated MLP, act(gate) * up."""
        return dense(self.mlp.post_act(normed))

    def attention_write(
        self, summed: Float[Tensor, "batch tokens heads d_head"], detach_scale: bool = False
    ) -> Float[Tensor, "batch tokens d_model"]:
        """RESID_DELTA_ATTN, from what the heads sum; with `detach_scale` the scale of the norm after it is constant."""
        return self._added(self.attention.output(summed), self.attention_post_norm, detach_scale)

    def mlp_write(self, normed: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes d_model"]:
        """RESID_DELTA_MLP, from the normalised residual stream."""
        return self._added(self.mlp(normed), self.mlp_post_norm)

    def attention_post_norm_at(self, summed: Float[Tensor, "batch tokens heads d_head"]) -> PostNorm | None:
        """What multiplies attention's output before it is added to the residual stream; None: it is added as it is."""
        return PostNorm.at(self.attention_post_norm, self.residual_multiplier, self.attention.output, summed)

    def mlp_post_norm_at(self, post_act: Neurons) -> PostNorm | None:
        """What multiplies the MLP's output before it is added to the residual stream; None: it is added as it is."""
        return PostNorm.at(self.mlp_post_norm, self.residual_multiplier, self.mlp.output, post_act)


def _span_of(normed: Tensor, first_position: int, n_positions: int | None) -> Span:
    span = Span(normed.shape[1], normed.device)
    if first_position:
        span.position_ids = span.position_ids + first_position
    span.n_keys = n_positions or span.n_keys + first_position
    return span
