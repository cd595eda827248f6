"""A loss for each prompt of a batch."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuron_explainer.activations.derived_scalars.loss import LossFnName, last_token_loss
from neuron_explainer.activations.derived_scalars.losses.bound_loss import BoundLoss, NamedLoss, bind_loss
from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.errors import MisconfiguredError, shown


class LossOfEach(BoundLoss):
    """Each prompt's own loss. Losses of the same name are computed together.

    Args:
        losses: one for each prompt, in their order.
        device: the model's device.
    """

    def __init__(self, losses: Sequence[BoundLoss], device: torch.device) -> None:
        self.losses = tuple(losses)
        self.last_token_only = all(loss.last_token_only for loss in losses)
        self._device = device
        by_name: dict[LossFnName, list[int]] = {}
        for row, loss in enumerate(losses):
            if isinstance(loss, NamedLoss):
                by_name.setdefault(loss.name, []).append(row)
        self._named = [
            (name, self._indices(rows), self._tokens(rows, "targets"), self._tokens(rows, "distractors"))
            for name, rows in by_name.items()
        ]
        self._others = [row for row, loss in enumerate(losses) if not isinstance(loss, NamedLoss)]
        in_order = [row for rows in by_name.values() for row in rows] + self._others
        self._place_of_row = self._indices(sorted(range(len(in_order)), key=in_order.__getitem__))

    def of_prompts(self, numbers: Sequence[int]) -> "LossOfEach":
        """The losses of some of the prompts."""
        return LossOfEach([self.losses[number] for number in numbers], self._device)

    def of_logits(
        self, logits: Float[Tensor, "batch positions vocab"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Each prompt's own loss."""
        last = logits[:, 0] if logits.shape[1] == 1 else logits[self._indices(range(len(logits))), lengths - 1]
        parts = [
            last_token_loss(name, last if len(rows) == len(last) else last[rows], targets, distractors)
            for name, rows, targets, distractors in self._named
        ]
        n_tokens = lengths.tolist() if self._others else []
        for row in self._others:
            loss, one = self.losses[row], slice(row, row + 1)
            own = last[one][:, None] if loss.last_token_only else logits[one, : n_tokens[row]]
            parts.append(loss.of_logits(own, lengths[one]))
        return torch.cat(parts)[self._place_of_row]

    def _indices(self, rows: Sequence[int]) -> Int[Tensor, " rows"]:
        return torch.tensor(list(rows), dtype=torch.int64, device=self._device)

    def _tokens(self, rows: Sequence[int], which: str) -> Int[Tensor, "rows tokens"]:
        """The targets or distractors of some prompts, padded with -1."""
        return pad_sequence([getattr(self.losses[row], which) for row in rows], batch_first=True, padding_value=-1)


def bind_losses(
    given: object, token_id: Callable[[str | int], int], device: torch.device, n_prompts: int | None = None
) -> BoundLoss | Objective | None:
    """Bind a loss, or a list with one for each prompt, to a model.

    Args:
        given: a loss, a list of losses, or None; see `bind_loss`.
        token_id, device: as for `bind_loss`.
        n_prompts: how many prompts there are; None where losses cannot be given for each prompt.

    Raises:
        NotOneTokenError: a target or distractor is not exactly one token.
        MisconfiguredError: something is neither a LossFnConfig nor a function, or the number of losses is not that of
            the prompts.
    """
    if not isinstance(given, list | tuple):
        return bind_loss(given, token_id, device)
    if n_prompts is None:
        raise MisconfiguredError(
            "loss is a list. Only derive_batch takes a list of losses, one for each prompt; here give one loss."
        )
    if len(given) != n_prompts:
        raise MisconfiguredError(f"loss is a list of {len(given)} for {n_prompts} prompts. Give one for each prompt.")
    losses = [bind_loss(loss, token_id, device) for loss in given]
    bound = [loss for loss in losses if isinstance(loss, BoundLoss)]
    if len(bound) < len(losses):
        number = next(number for number, loss in enumerate(losses) if not isinstance(loss, BoundLoss))
        raise MisconfiguredError(
            f"loss is a list that holds {shown(given[number])}, for prompt {number}. Give each prompt a LossFnConfig "
            'or a function of the logits: LossFnConfig("zero") is one without a gradient.'
        )
    return LossOfEach(bound, device) if bound else None
