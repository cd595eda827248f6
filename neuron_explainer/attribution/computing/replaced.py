"""Where an ablation has set a whole write, so that what it was summed from no longer adds up to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.bound_ablation import BoundAblation
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


@dataclass(frozen=True)
class Replaced:
    """The tokens, and of heads the numbers, at which a place has been set.

    Attributes:
        sets: for each prompt, what was set: positions (None: all), and a head's number (None: all).
    """

    sets: Sequence[Sequence[tuple[Sequence[int] | None, int | None]]]

    def at(self, positions: Int[Tensor, "batch rows"], n_components: int | None = None) -> Bool[Tensor, "..."]:
        """Whether the place was set: (batch, rows), or with `n_components` (batch, rows, components)."""
        shape = positions.shape if n_components is None else (*positions.shape, n_components)
        result = torch.zeros(shape, dtype=torch.bool, device=positions.device)
        for number, of_prompt in enumerate(self.sets):
            for tokens, component in of_prompt:
                own = positions[number]
                chosen = torch.ones_like(own, dtype=torch.bool) if tokens is None else is_one_of(own, tokens)
                if n_components is None:
                    result[number] |= chosen
                else:
                    which = slice(None) if component is None else slice(component, component + 1)
                    result[number, :, which] |= chosen[:, None]
        return result


def is_one_of(positions: Int[Tensor, " rows"], tokens: Sequence[int]) -> Bool[Tensor, " rows"]:
    """Whether each position is one of the tokens."""
    wanted = torch.tensor(list(tokens), dtype=torch.int64, device=positions.device)
    return (positions[:, None] == wanted).any(dim=-1)


@dataclass(frozen=True)
class ReplacedAt(Need):
    """Where a place has been set, in a layer or (for the embedding) once."""

    place: ActivationLocationType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """Nothing."""
        return iter(())

    def value(self, evaluation: Evaluation, layer: int | None) -> Replaced:
        """The tokens at which it has been set."""
        return replaced_at(evaluation.bound, self.place, layer, evaluation.n_prompts)


def replaced_at(bound: BoundConfig, place: ActivationLocationType, layer: int | None, n_prompts: int = 1) -> Replaced:
    """Where ablations set a place, in a layer or (for the embedding) once."""
    sets: list[list[tuple[Sequence[int] | None, int | None]]] = [[] for _ in range(n_prompts)]
    for ablation in ablations_at(bound, place, layer):
        token, *others = ablation.index.tensor_indices
        component = others[0] if len(others) > 1 else None
        written = (
            [token] if isinstance(token, int) else ablation.tokens,
            component if isinstance(component, int) else None,
        )
        for row in range(n_prompts) if ablation.row is None else [ablation.row]:
            sets[row].append(written)
    return Replaced(sets)


def ablations_at(bound: BoundConfig, place: ActivationLocationType, layer: int | None) -> list[BoundAblation]:
    """The ablations of activations at a place."""
    return [
        ablation
        for ablation in bound.ablations
        if (ablation.index.activation_location_type, ablation.index.layer_index) == (place, layer)
        and ablation.index.pass_type is PassType.FORWARD
    ]


@dataclass(frozen=True)
class WhereReplaced(Need):
    """The activation at a place where it has been set; None, and nothing is recorded, where it is a sum of parts."""

    place: ActivationLocationType

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The activation, if it has been set."""
        if ablations_at(bound, self.place, layer):
            yield Recorded(self.place, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor | None:
        """(batch, tokens, …)"""
        recordings = list(self.recordings(evaluation.bound, layer))
        return evaluation.recorded(recordings[0]) if recordings else None
