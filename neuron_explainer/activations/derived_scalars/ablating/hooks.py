"""Interventions that write what ablations say."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.asked_change import AskedChange
from neuron_explainer.activations.derived_scalars.ablating.bound_ablation import BoundAblation
from neuron_explainer.activations.derived_scalars.ablating.means import component_means, mean_activations
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import place_in_pass
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

FINAL_NORM_FROZEN = BoundAblation(
    ActivationIndex(
        ActivationLocationType.RESID_FINAL_LAYER_NORM_SCALE, None, ("All", "All"), pass_type=PassType.BACKWARD
    ),
    0.0,
)
"""No gradient passes through the scale of the final norm: it is held constant."""


def ablation_hooks(
    bound: BoundConfig, ablations: Iterable[BoundAblation], asked: AskedChange | None = None
) -> list[Intervention]:
    """One intervention for each place, which writes in the order of the ablations.

    One for each ablation would copy the tensor of the whole batch as often.

    Args:
        bound: the configuration.
        ablations: what is overwritten.
        asked: the last of them has an intervention of its own, which notes here whether it changes a number.
    """
    ablations = list(ablations)
    if asked is not None and ablations:
        (last,) = ablation_hooks(bound, ablations[-1:])
        last.notes_change = True
        asked.hooks.append(last)
        return [*ablation_hooks(bound, ablations[:-1]), last]
    by_place: dict[tuple[ActivationLocationType, int | None, PassType], list[tuple[BoundAblation, float | Tensor]]] = {}
    for ablation, values in zip(ablations, _values_of(bound, ablations), strict=True):
        index = ablation.index
        key = place_in_pass(bound, index.activation_location_type), index.layer_index, index.pass_type
        by_place.setdefault(key, []).append((ablation, values))
    return [
        bound.model.intervention(place, layer, partial(_write_all, written), pass_type=pass_type)
        for (place, layer, pass_type), written in by_place.items()
    ]


def _write_all(written: Iterable[tuple[BoundAblation, float | Tensor]], tensor: Tensor) -> Tensor:
    for ablation, values in written:
        ablation.write(tensor, values)
    return tensor


def _values_of(bound: BoundConfig, ablations: Iterable[BoundAblation]) -> list[float | Tensor]:
    """What each ablation writes, on the model's device; means are computed together."""
    by_mean = [ablation.index for ablation in ablations if isinstance(ablation.values, str)]
    means = mean_activations(bound, [(index.activation_location_type, index.layer_index) for index in by_mean])
    found: list[float | Tensor] = []
    for ablation in ablations:
        index, values = ablation.index, ablation.values
        if isinstance(values, str):
            values = component_means(index, means[index.activation_location_type, index.layer_index])
        found.append(values.to(bound.model.device) if isinstance(values, Tensor) else values)
    return found
