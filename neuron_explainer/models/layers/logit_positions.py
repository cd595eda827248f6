"""The positions at which logits are computed."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, shown

LogitsAt = Literal["all", "last"] | Int[Tensor, "prompts"] | None
"""All positions, the last real token of each prompt, one given position in each prompt, or none."""


def at_positions(
    resid: Float[Tensor, "batch tokens d_model"], logits_at: LogitsAt, counts: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch positions d_model"]:
    """The residual stream at the positions where logits are computed.

    Args:
        resid: the residual stream, or its normalised form.
        logits_at: which positions; None is treated as "all".
        counts: the number of real tokens in each prompt; None means that all are real.

    Raises:
        InvalidRequestError: `logits_at` is neither "all", "last", None nor one position for each prompt.
    """
    if logits_at is None or (isinstance(logits_at, str) and logits_at == "all"):
        return resid
    if isinstance(logits_at, str):
        if logits_at != "last":
            raise InvalidRequestError(
                f'logits_at is {logits_at!r}. Give "all", "last", None, or one position for each prompt.'
            )
        if counts is None:
            return resid[:, -1:]
        logits_at = counts - 1
    if not isinstance(logits_at, Tensor) or logits_at.is_floating_point() or logits_at.dtype == torch.bool:
        raise InvalidRequestError(
            f'logits_at is {shown(logits_at)}. Give "all", "last", None, or a tensor of one position for each prompt.'
        )
    if logits_at.shape != (len(resid),):
        raise InvalidRequestError(
            f"logits_at has shape {tuple(logits_at.shape)}; it must have one position for each of {len(resid)} prompts."
        )
    # Positions on a GPU are not checked: the pass would have to wait for it.
    if logits_at.device.type == "cpu" and not ((logits_at >= 0) & (logits_at < resid.shape[1])).all():
        raise InvalidRequestError(f"logits_at is {logits_at.tolist()}; positions are from 0 to {resid.shape[1] - 1}.")
    rows = torch.arange(len(resid), dtype=torch.int64, device=resid.device)
    return resid[rows, logits_at.to(resid.device, non_blocking=True)][:, None]
