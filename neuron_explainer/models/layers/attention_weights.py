"""The weights of attention, in whatever layout the family stores them."""

from jaxtyping import Float
from torch import Tensor, nn

from neuron_explainer.models.layers.unfilled import unfilled
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.nodes import AttnSubNode

_ORDER = (AttnSubNode.Q, AttnSubNode.K, AttnSubNode.V)


class AttentionWeights(nn.Module):
    """The linear maps from the normalised residual stream to queries, keys and values, and from the heads back.

    Matrices are (outputs, inputs), as in `torch.nn.functional.linear`. In a fused layout the three maps are one
    parameter, `qkv_weight`; otherwise `query_weight`, `key_weight` and `value_weight`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.d_head = config.d_head
        self.qkv_layout = config.qkv_layout
        self.n_heads_by_part = (config.n_heads, config.n_key_value_heads, config.n_key_value_heads)
        self._sizes = [heads * config.d_head for heads in self.n_heads_by_part]
        self._has_bias = config.qkv_bias
        if self.qkv_layout == "separate":
            for part, size in zip(("query", "key", "value"), self._sizes, strict=True):
                setattr(self, f"{part}_weight", unfilled(size, config.d_model))
                setattr(self, f"{part}_bias", unfilled(size) if config.qkv_bias else None)
        else:
            self.qkv_weight = unfilled(sum(self._sizes), config.d_model)
            self.qkv_bias = unfilled(sum(self._sizes)) if config.qkv_bias else None
        self.output_weight = unfilled(config.d_model, config.n_heads * config.d_head)
        self.output_bias = unfilled(config.d_model) if config.attention_output_bias else None

    def part(self, which: AttnSubNode) -> tuple[Float[Tensor, "outputs d_model"], Float[Tensor, " outputs"] | None]:
        """The weight and bias of queries, keys or values: views, or copies if heads are interleaved."""
        index = _ORDER.index(which)
        if self.qkv_layout == "separate":
            name = ("query", "key", "value")[index]
            return getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        if self.qkv_layout == "fused":
            start, size = sum(self._sizes[:index]), self._sizes[index]
            bias = None if self.qkv_bias is None else self.qkv_bias[start : start + size]
            return self.qkv_weight[start : start + size], bias
        rows = self._rows_of_group(index)
        weight = self.qkv_weight.unflatten(0, self._groups)[:, rows].flatten(0, 2)
        if self.qkv_bias is None:
            return weight, None
        return weight, self.qkv_bias.view(self._groups)[:, rows].flatten()

    @property
    def _groups(self) -> tuple[int, int, int]:
        """The axes of a matrix that is fused by head: each key's group, its queries, key and value, and channels."""
        n_groups = self.n_heads_by_part[1]
        return n_groups, self.n_heads // n_groups + 2, self.d_head

    def _rows_of_group(self, index: int) -> slice:
        n_queries = self.n_heads // self.n_heads_by_part[1]
        return (slice(n_queries), slice(n_queries, n_queries + 1), slice(n_queries + 1, None))[index]

    def project_part(
        self, which: AttnSubNode, normed: Float[Tensor, "batch tokens d_model"]
    ) -> Float[Tensor, "batch tokens some_heads d_head"]:
        """Queries, keys or values, before rotation and scaling."""
        return nn.functional.linear(normed, *self.part(which)).unflatten(-1, (-1, self.d_head))

    def project(
        self, normed: Float[Tensor, "batch tokens d_model"]
    ) -> tuple[
        Float[Tensor, "batch tokens heads d_head"],
        Float[Tensor, "batch tokens key_heads d_head"],
        Float[Tensor, "batch tokens key_heads d_head"],
    ]:
        """Queries, keys and values, before rotation and scaling; in a fused layout, views of one product."""
        if self.qkv_layout == "separate":
            queries, keys, values = (self.project_part(part, normed) for part in _ORDER)
            return queries, keys, values
        fused = nn.functional.linear(normed, self.qkv_weight, self.qkv_bias)
        if self.qkv_layout == "fused_by_head":
            groups = fused.unflatten(-1, self._groups)
            queries, keys, values = (groups[..., self._rows_of_group(index), :].flatten(-3, -2) for index in range(3))
            return queries, keys, values
        queries, keys, values = (part.unflatten(-1, (-1, self.d_head)) for part in fused.split(self._sizes, dim=-1))
        return queries, keys, values

    def output(self, summed: Float[Tensor, "batch tokens heads d_head"]) -> Float[Tensor, "batch tokens d_model"]:
        """The output of all heads together, bias included, from their weighted sums of values."""
        return nn.functional.linear(summed.flatten(2), self.output_weight, self.output_bias)

    def by_head(self, which: AttnSubNode) -> Float[Tensor, "heads d_model d_head"]:
        """Each head's map from the residual stream to its queries, keys or values; shared ones are repeated."""
        weight = self.part(which)[0].unflatten(0, (-1, self.d_head)).transpose(1, 2)
        return weight if len(weight) == self.n_heads else weight.repeat_interleave(self.n_heads // len(weight), dim=0)

    def output_by_head(self) -> Float[Tensor, "heads d_head d_model"]:
        """Each head's map from its weighted sum of values to the residual stream: a view."""
        return self.output_weight.unflatten(1, (self.n_heads, self.d_head)).permute(1, 2, 0)
