"""A metric of the logits as an objective: its value, and the direction in the residual stream that it reads.

The read-out is the final norm and the unembedding. With the norm's scale held constant the uncapped logits are affine
in the residual stream. A metric that is not linear in the logits is replaced by its linearisation: the weighted sum of
the logits whose weights are its gradient. `PassDetails` has both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.residual_order import end_position
from neuron_explainer.activations.derived_scalars.losses.bound_loss import one_number
from neuron_explainer.activations.derived_scalars.losses.objective import Evaluated, Objective
from neuron_explainer.attribution.computing.details import PassDetails
from neuron_explainer.attribution.computing.readout import (
    among_channels,
    capped,
    norm_bias,
    normed_rows,
    uncapped_logits,
)
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

NORM_BIAS = "final norm bias"
UNEMBEDDING_BIAS = "unembedding bias"


@dataclass(frozen=True)
class LogitReading:
    """What is read from one prompt's logits.

    Attributes:
        function: gives one number from the logits at the positions, (positions, vocabulary).
        positions: where; None for all tokens.
        is_linear: whether the number is linear in the logits.
        is_of_fixed_tokens: False where the tokens it is about depend on the logits.
    """

    function: Callable[[Tensor], Tensor]
    positions: tuple[int, ...] | None
    is_linear: bool
    is_of_fixed_tokens: bool = True


class LogitObjective(Objective):
    """A metric of each prompt's logits.

    Args:
        model: the model.
        readings: for each prompt of the batch, what is read.
    """

    def __init__(self, model: Transformer, readings: Sequence[LogitReading]) -> None:
        self._model = model
        self._readings = list(readings)
        self.residual: PlaceAndLayer = (ActivationLocationType.RESID_POST_MLP, model.config.n_layers - 1)
        self.position = end_position(model.config.n_layers)

    def evaluate(
        self,
        residual_at: Callable[[PlaceAndLayer], Float[Tensor, "batch tokens d_model"]],
        lengths: Int[Tensor, " batch"],
        with_directions: bool,
    ) -> Evaluated:
        """The metric of each prompt."""
        model, resid = self._model, residual_at(self.residual)
        counts = lengths.tolist()
        positions = [
            list(range(count)) if reading.positions is None else list(reading.positions)
            for reading, count in zip(self._readings, counts, strict=True)
        ]
        sizes = [len(each) for each in positions]
        owners = [number for number, size in enumerate(sizes) for _ in range(size)]
        places = [position for each in positions for position in each]
        prompts, tokens = (
            torch.tensor(numbers, dtype=torch.int64, device=resid.device) for numbers in (owners, places)
        )
        rows = at_least_float32(resid[prompts, tokens])
        logits = uncapped_logits(model, normed_rows(model, rows, hold_scale=True))
        by_prompt = logits.split(sizes)
        if not with_directions:
            numbers = [reading.function(own) for reading, own in zip(self._readings, by_prompt, strict=True)]
            return Evaluated(torch.stack([number.reshape(()) for number in numbers]))
        values, weights = self._differentiated(by_prompt)
        joined = torch.cat(weights)
        among_normed = among_channels(model, joined)
        held, true = (self._pulled_back(rows, among_normed, hold_scale) for hold_scale in (True, False))
        gradient = torch.zeros_like(resid, dtype=rows.dtype)
        gradient.index_put_((prompts, tokens), true, accumulate=True)
        constants = self._constants(joined, among_normed, sizes)
        kept = [_rows_that_count(*each) for each in zip(self._readings, weights, strict=True)]
        cap, scales = model.config.logits_softcap, model.final_norm.scale(at_least_float32(resid.detach()))
        details = [
            PassDetails(
                positions=tuple(places[row] for row in which.tolist()),
                logits=own[which],
                capped_value=float(value if cap is None else reading.function(capped(own, cap))),
                linear_value=float(value if reading.is_linear else (own * weight).sum()),
                final_scales=own_scales[:count].clone(),
            )
            for places, own, weight, which, reading, value, own_scales, count in zip(
                positions, by_prompt, weights, kept, self._readings, values, scales, counts, strict=True
            )
        ]
        padded_rows, directions = _padded(held.split(sizes), positions, kept)
        return Evaluated(values.detach(), gradient, padded_rows, directions, constants, details)

    def held_value(self, resid: Float[Tensor, "tokens d_model"], scales_of: Float[Tensor, "tokens d_model"]) -> float:
        """The metric of one prompt, or its linearisation, with the final norm's scale of another residual stream.

        Args:
            resid: the residual stream after the last layer.
            scales_of: that whose scales, and at which the linearisation, are taken.
        """
        reading, norm = self._readings[0], self._model.final_norm
        positions = list(range(len(resid))) if reading.positions is None else list(reading.positions)
        rows, base = at_least_float32(resid[positions]), at_least_float32(scales_of[positions])
        with torch.no_grad():
            scale = norm.scale(base)
            logits, logits_of_base = (
                uncapped_logits(self._model, norm.apply_scale(each, scale)) for each in (rows, base)
            )
        if reading.is_linear and reading.is_of_fixed_tokens:
            return float(reading.function(logits))
        _, (weights,) = self._differentiated([logits_of_base])
        return float((logits.double() * weights.double()).sum())

    def _differentiated(self, by_prompt: Sequence[Tensor]) -> tuple[Float[Tensor, " batch"], list[Tensor]]:
        """Each prompt's metric, and its gradient with respect to the logits."""
        values, weights = [], []
        with torch.enable_grad():
            for reading, own in zip(self._readings, by_prompt, strict=True):
                leaf = own.detach().requires_grad_()
                value = one_number(reading.function, leaf, "metric")
                (gradient,) = torch.autograd.grad(value, leaf)
                values.append(value.detach())
                weights.append(gradient)
        return torch.stack(values), weights

    def _pulled_back(self, rows: Tensor, among_normed: Tensor, hold_scale: bool) -> Float[Tensor, "rows d_model"]:
        """The gradient with respect to the residual stream, through the final norm."""
        with torch.enable_grad():
            leaf = rows.detach().requires_grad_()
            normed = normed_rows(self._model, leaf, hold_scale)
            (gradient,) = torch.autograd.grad((normed * among_normed).sum(), leaf)
        return gradient

    def _constants(self, weights: Tensor, among_normed: Tensor, sizes: Sequence[int]) -> dict[str, Tensor]:
        """What the biases of the final norm and of the unembedding add, for each prompt."""
        by_row: dict[str, Tensor] = {}
        if (bias := norm_bias(self._model)) is not None:
            by_row[NORM_BIAS] = among_normed @ bias.to(among_normed.dtype)
        if (bias := self._model.unembedding_bias) is not None:
            by_row[UNEMBEDDING_BIAS] = weights @ bias.to(weights.dtype) * self._model.config.logits_scale
        return {name: torch.stack([own.sum() for own in rows.split(sizes)]) for name, rows in by_row.items()}


def _rows_that_count(reading: LogitReading, weights: Float[Tensor, "rows vocab"]) -> Int[Tensor, " rows"]:
    """Where a metric was asked for; of a function of all logits, the rows that it depends on."""
    if reading.positions is not None:
        return torch.arange(len(weights), dtype=torch.int64, device=weights.device)
    return (weights != 0).any(dim=-1).nonzero().flatten()


def _padded(
    held: Sequence[Tensor], positions: Sequence[Sequence[int]], kept: Sequence[Tensor]
) -> tuple[Int[Tensor, "batch rows"], Float[Tensor, "batch rows d_model"]]:
    """Each prompt's rows that count, padded to the most of any prompt."""
    most = max(1, *(len(which) for which in kept))
    rows = torch.zeros(len(held), most, dtype=torch.int64, device=held[0].device)
    directions = held[0].new_zeros(len(held), most, held[0].shape[-1])
    for number, (own, places, which) in enumerate(zip(held, positions, kept, strict=True)):
        rows[number, : len(which)] = torch.tensor(places, dtype=torch.int64, device=rows.device)[which]
        directions[number, : len(which)] = own[which]
    return rows, directions
