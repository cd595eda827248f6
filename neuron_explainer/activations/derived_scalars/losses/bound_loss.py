"""Losses bound to one model: token ids instead of texts, and logits only for the tokens that the loss looks at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.loss import EXAMPLE_OF_A_LOSS, LossFnConfig, last_token_loss
from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, shown

if TYPE_CHECKING:
    from neuron_explainer.models.transformer import Transformer


class BoundLoss(ABC):
    """A number for each prompt, computed from its logits."""

    last_token_only: bool
    """Whether it looks only at the last token's logits."""

    @abstractmethod
    def of_logits(
        self, logits: Float[Tensor, "batch positions vocab"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Each prompt's loss, from the logits of its last token (one position) or of all its tokens."""

    def of_residual(
        self,
        model: Transformer,
        resid: Float[Tensor, "batch tokens d_model"],
        lengths: Int[Tensor, " batch"],
        detach_scale: bool,
    ) -> Float[Tensor, " batch"]:
        """Each prompt's loss, from the residual stream after the last layer."""
        if self.last_token_only:
            rows = torch.arange(len(resid), dtype=torch.int64, device=resid.device)
            resid = resid[rows, lengths - 1][:, None]
        return self.of_logits(model.unembed(model.final_norm(resid, detach_scale)), lengths)


class NamedLoss(BoundLoss):
    """A LossFnConfig, its tokens looked up in the model's vocabulary."""

    last_token_only = True

    def __init__(self, config: LossFnConfig, token_id: Callable[[str | int], int], device: torch.device) -> None:
        self.name = config.name
        self.targets, self.distractors = (
            torch.tensor([token_id(token) for token in tokens or ()], dtype=torch.long, device=device)
            for tokens in (config.target_tokens, config.distractor_tokens)
        )

    def of_logits(
        self, logits: Float[Tensor, "batch positions vocab"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """The loss of the last token's logits."""
        return last_token_loss(self.name, logits[:, 0], self.targets, self.distractors)


class LossOfFunction(BoundLoss):
    """A function of one prompt's logits, (tokens, vocabulary), that gives one number."""

    last_token_only = False

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def of_logits(
        self, logits: Float[Tensor, "batch positions vocab"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """The function's result for each prompt, without its padding."""
        is_full = len(logits) == 1
        counts = [logits.shape[1]] if is_full else lengths.tolist()
        results = [
            one_number(self._function, prompt[:count], "loss") for prompt, count in zip(logits, counts, strict=True)
        ]
        return torch.stack(results)


def one_number(function: Callable[[Tensor], Tensor], logits: Tensor, what: str) -> Float[Tensor, ""]:
    """What a function gives for logits, which must be one number that can be differentiated.

    Args:
        function: the function. It is given a copy, so it may change its argument in place.
        logits: its argument.
        what: what an error calls its result.

    Raises:
        InvalidRequestError: it gives something else.
    """
    result = function(logits.clone())
    if not isinstance(result, Tensor) or result.numel() != 1 or result.is_complex():
        found = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        if isinstance(result, Tensor) and result.is_complex():
            found = f"a complex one ({result.dtype})"
        raise InvalidRequestError(f"The {what} must return one number as a tensor, not {found}.")
    if not result.requires_grad and logits.requires_grad:
        raise InvalidRequestError(
            f"The {what} cannot be differentiated with respect to the logits. Compute it from the tensor that the "
            "function is given, without .detach(), .item() or NumPy."
        )
    return result.reshape(())


def bind_loss(loss: object, token_id: Callable[[str | int], int], device: torch.device) -> BoundLoss | Objective | None:
    """Bind a loss to a model.

    Args:
        loss: a LossFnConfig, a function of the logits, an Objective, or None.
        token_id: gives the model's id of a token, from its text or id.
        device: the model's device.

    Raises:
        NotOneTokenError: a target or distractor is not exactly one token.
        MisconfiguredError: it is neither a LossFnConfig nor a function.
    """
    if loss is None or isinstance(loss, Objective):
        return loss
    if isinstance(loss, LossFnConfig):
        return NamedLoss(loss, token_id, device)
    if callable(loss):
        return LossOfFunction(loss)
    raise MisconfiguredError(
        f"loss must be a LossFnConfig, such as {EXAMPLE_OF_A_LOSS}, or a function of the logits, not {shown(loss)}."
    )
