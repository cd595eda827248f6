"""What steering does to the residual stream at the end of a layer, by row of a batch and by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, shown
from neuron_explainer.experiments.steering.direction import unit
from neuron_explainer.models.hooks.applied_at import AppliedAt
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.vocabulary.checks import is_several, whole_number
from neuron_explainer.wording import choices_sentence

SteeringMode = Literal["add", "project_out", "clamp"]
MODES: tuple[SteeringMode, ...] = ("add", "project_out", "clamp")
GENERATED = "generated"
_FARTHEST = 2**40
SteeredPositions: TypeAlias = SupportsIndex | Iterable[SupportsIndex] | Literal["generated"] | None
"""All positions (None), given ones, or those after the prompt ("generated")."""


@dataclass(frozen=True)
class Positions:
    """Which tokens are steered.

    Attributes:
        given: positions, negative ones from the prompt's end; None: all, or those after the prompt.
        only_generated: whether only tokens after the prompt are.
    """

    given: tuple[int, ...] | None
    only_generated: bool

    @property
    def need_prompt(self) -> bool:
        """Whether they depend on the prompt's length."""
        return self.only_generated or any(position < 0 for position in self.given or ())

    def in_text(self, n_prompt: int | None, n_tokens: int | None) -> tuple[int, ...] | None:
        """The given positions from 0; None where none are given.

        Args:
            n_prompt: how many tokens the prompt has; None if that is not known.
            n_tokens: how many tokens are read at most; None if that is not known.

        Raises:
            InvalidRequestError: they depend on the prompt, and it is not known.
            IndexOutOfRangeError: the text has no such position.
        """
        if self.need_prompt and n_prompt is None:
            raise InvalidRequestError(
                "The steered positions depend on where the prompt ends. Give n_prompt=, the number of its tokens."
            )
        if self.given is None:
            return None
        counted = tuple(each + (n_prompt or 0) if each < 0 else each for each in self.given)
        for asked, position in zip(self.given, counted, strict=True):
            if position < 0 or (n_tokens is not None and position >= n_tokens):
                raise IndexOutOfRangeError(
                    f"Position {asked} is to be steered, and the text has {n_tokens or n_prompt} tokens."
                )
        return counted


def read_steered_positions(given: Any) -> Positions:
    """The positions, as `ne.steer` takes them.

    Raises:
        InvalidRequestError: they are neither whole numbers nor "generated", or there are none.
    """
    if given is None:
        return Positions(None, False)
    if isinstance(given, str):
        if given != GENERATED:
            raise InvalidRequestError(f'positions is {shown(given)}. Give positions, "{GENERATED}", or None for all.')
        return Positions(None, True)
    single = whole_number(given)
    several = [single] if single is not None else list(given) if is_several(given) else []
    numbers = [whole_number(each) for each in several]
    if not numbers or any(number is None or abs(number) > _FARTHEST for number in numbers):
        raise InvalidRequestError(
            f'positions is {shown(given)}. Give at least one whole number, "{GENERATED}", or None for all.'
        )
    return Positions(tuple(number for number in numbers if number is not None), False)


def read_mode(given: object) -> SteeringMode:
    """One of the three.

    Raises:
        InvalidRequestError: it is none of them.
    """
    for mode in MODES:
        if isinstance(given, str) and given == mode:
            return mode
    raise InvalidRequestError(f"mode is {shown(given)}. {choices_sentence(MODES)}")


def steering_function(
    mode: SteeringMode,
    directions: Mapping[int, Float[Tensor, " d_model"]],
    strengths: Sequence[float | None],
    positions: Positions,
    n_prompt: int | None = None,
    n_tokens: int | None = None,
) -> Callable[[Tensor, AppliedAt], Tensor]:
    """The intervention at the end of layers.

    Args:
        mode: what is done with the direction.
        directions: by layer, on the model's device.
        strengths: one for each row of the batch, or one for all; None leaves a row as it is.
        positions: which tokens are steered.
        n_prompt: how many tokens the prompt has.
        n_tokens: how many tokens are read at most.

    Raises:
        InvalidRequestError, IndexOutOfRangeError: as `Positions.in_text`.
    """
    device = next(iter(directions.values())).device
    given = positions.in_text(n_prompt, n_tokens)
    wanted = None if given is None else torch.tensor(given, dtype=torch.int64, device=device)
    numbers = [0.0 if each is None else each for each in strengths]
    by_row = torch.tensor(numbers, dtype=torch.float64, device=device)[:, None, None]
    leaves_some = None in strengths
    is_steered = torch.tensor([each is not None for each in strengths], dtype=torch.bool, device=device)[:, None, None]
    units = {} if mode == "add" else {layer: unit(vector, layer) for layer, vector in directions.items()}

    def steered_tokens(at: AppliedAt) -> Bool[Tensor, "rows tokens 1"] | None:
        if wanted is not None:
            return (at.positions[..., None] == wanted).any(-1, keepdim=True)
        return (at.positions >= (n_prompt or 0))[..., None] if positions.only_generated else None

    def steer_here(resid: Tensor, at: AppliedAt) -> Tensor:
        wide = at_least_float32(resid)
        layer, strength = at.layer or 0, by_row.to(wide.dtype)
        if mode == "add":
            new = wide + strength * directions[layer].to(wide.dtype)
        else:
            along = units[layer].to(wide.dtype)
            coefficient = (wide @ along)[..., None]
            change = -strength * coefficient if mode == "project_out" else strength - coefficient
            new = wide + change * along
        new = new.to(resid.dtype)
        where = steered_tokens(at)
        if leaves_some:
            where = is_steered if where is None else where & is_steered
        return new if where is None else torch.where(where, new, resid)

    return steer_here
