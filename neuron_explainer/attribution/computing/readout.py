"""From the residual stream after the last layer to logits, and back: the read-out at a few rows, in float32 or wider.

Logits here are those before a soft cap, if the model has one: the uncapped ones are linear in the final norm's output.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer

_ROWS_AT_ONCE = 16_384  # of the unembedding; a copy of so many in float32 takes some tens of megabytes


def uncapped_logits(model: Transformer, normed: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows vocab"]:
    """The logits before a soft cap, from the final norm's output."""
    bias, logits = model.unembedding_bias, _unembedded(model, normed)
    if bias is not None:
        logits = logits + bias.to(logits.dtype)
    return logits * model.config.logits_scale


def logits_of_write(
    model: Transformer, write: Float[Tensor, "rows d_model"], scale: Float[Tensor, "rows 1"]
) -> Float[Tensor, "rows vocab"]:
    """What writes to the residual stream add to the uncapped logits, the final norm's scale held at `scale`."""
    norm = model.final_norm
    normed = norm.without_gain(at_least_float32(write), scale) * norm.effective_gain
    return _unembedded(model, normed) * model.config.logits_scale


def _unembedded(model: Transformer, normed: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows vocab"]:
    return torch.cat([normed @ weight.T for weight in _unembedding_by_parts(model, normed.dtype)], dim=-1)


def capped(logits: Float[Tensor, "*rows vocab"], cap: float | None) -> Float[Tensor, "*rows vocab"]:
    """The model's own logits, from the uncapped ones; `cap` is its soft cap, None without one."""
    return logits if cap is None else (logits / cap).tanh() * cap


def among_channels(model: Transformer, weights: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows d_model"]:
    """The direction, among the final norm's outputs, whose dot product is the weighted sum of the uncapped logits."""
    used = weights.any(dim=0).nonzero().flatten()
    if len(used) <= _ROWS_AT_ONCE // 16:
        rows = model.unembedding_weight[used].to(weights.dtype)
        return weights[:, used] @ rows * model.config.logits_scale
    parts = _unembedding_by_parts(model, weights.dtype)
    columns = weights.split(_ROWS_AT_ONCE, dim=-1) if weights.dtype != model.dtype else [weights]
    summed = sum((own @ part for own, part in zip(columns, parts, strict=True)), torch.zeros_like(weights[:, :1]))
    return summed * model.config.logits_scale


def _unembedding_by_parts(model: Transformer, dtype: torch.dtype) -> Iterator[Float[Tensor, "some_vocab d_model"]]:
    """The unembedding in a dtype; all at once if it has that dtype, else by parts, so that no whole copy is made."""
    weight = model.unembedding_weight
    if weight.dtype == dtype:
        yield weight
        return
    for part in weight.split(_ROWS_AT_ONCE):
        yield part.to(dtype)


def normed_rows(
    model: Transformer, resid: Float[Tensor, "rows d_model"], hold_scale: bool
) -> Float[Tensor, "rows d_model"]:
    """The final norm of some rows; with `hold_scale` no gradient flows through its scale."""
    norm, rows = model.final_norm, at_least_float32(resid)
    scale = norm.scale(rows)
    return norm.apply_scale(rows, scale.detach() if hold_scale else scale)


def norm_bias(model: Transformer) -> Float[Tensor, " d_model"] | None:
    """The final norm's bias; None without one."""
    bias: Tensor | None = model.final_norm.bias
    return bias
