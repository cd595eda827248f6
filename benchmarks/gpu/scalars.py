"""Every derived scalar of every family: a GPU against the CPU, both against float64.

How far a GPU may be off is measured, not chosen: the largest error that the CPU makes in the same dtype and type, in
any family, times a margin. The margins come from the CPU too: between a prompt derived alone and beside a longer one,
which takes other matrix products, the errors differ by at most 3.1 times in float32 and 1.7 times in bfloat16 (those
below the floors count as the floors).
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import neuron_explainer as ne
from benchmarks.every_scalar import REQUESTS
from benchmarks.gpu.checks import Check, relative_error
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.models.autoencoders.latent_activations import Identity, LatentActivation, ReLU

PROMPT = [5, 17, 3, 44, 17, 20, 9, 30]
LOSS = ne.LossFnConfig(ne.LossFnName.LOGIT_DIFF, ["t7"], ["t11"])

Key = tuple[int, ne.DerivedScalarType, ne.PassType, int | None]
Results = dict[Key, Tensor]


@dataclass(frozen=True)
class Precision:
    """A dtype, and how much larger than the CPU's errors a GPU's may be.

    Attributes:
        dtype: of weights and activations.
        floor: errors below it count as it.
        margin: what the CPU's largest error is multiplied by.
        activation: of the autoencoders. In bfloat16 it has no kink, since a latent that rounding switches on or off
            changes a result by more than any error of rounding.
    """

    dtype: torch.dtype
    floor: float
    margin: float
    activation: LatentActivation

    @property
    def name(self) -> str:
        """The dtype's name."""
        return str(self.dtype).removeprefix("torch.")


PRECISIONS = (
    Precision(torch.float32, floor=3e-6, margin=10.0, activation=ReLU()),
    Precision(torch.bfloat16, floor=2e-2, margin=4.0, activation=Identity()),
)


def all_scalars(family: str, device: torch.device, dtype: torch.dtype, activation: LatentActivation) -> Results:
    """Every type's values and gradients in a small model of a family."""
    return scalars_of(small_context(family, device, dtype), dtype, activation)


def scalars_of(context: ne.StandardModelContext, dtype: torch.dtype, activation: LatentActivation) -> Results:
    """Every type's values and, for those that have them, gradients, by the number of their request."""
    autoencoders_of = functools.partial(random_autoencoders, dtype=dtype, activation=activation)
    results: Results = {}
    for number, request in enumerate(REQUESTS):
        store = ne.derive(PROMPT, sorted(request.dsts), request.config(context, autoencoders_of), loss=LOSS)
        for dst, pass_type, _ in store.contents():
            for layer, tensor in store.activations(dst, pass_type).items():
                results[number, dst, pass_type, layer] = tensor
    return results


def errors_of(results: Results, reference: Results) -> dict[Key, float]:
    """Each result's error; infinite where there is no result."""
    return {
        key: relative_error(results[key], expected) if key in results else float("inf")
        for key, expected in reference.items()
    }


def check_scalars(families: Sequence[str], device: torch.device) -> Iterator[Check]:
    """Derive everything in every family, dtype by dtype."""
    cpu = torch.device("cpu")
    for precision in PRECISIONS:
        errors: dict[str, dict[Key, float]] = {}
        largest_on_cpu: dict[ne.DerivedScalarType, float] = {}
        for family in families:
            reference = all_scalars(family, cpu, torch.float64, precision.activation)
            on_cpu = errors_of(all_scalars(family, cpu, precision.dtype, precision.activation), reference)
            for (_, dst, _, _), error in on_cpu.items():
                largest_on_cpu[dst] = max(largest_on_cpu.get(dst, precision.floor), error)
            errors[family] = errors_of(all_scalars(family, device, precision.dtype, precision.activation), reference)
        for family in families:
            yield _compared(family, precision, errors[family], largest_on_cpu)


def _compared(
    family: str,
    precision: Precision,
    errors: dict[Key, float],
    largest_on_cpu: dict[ne.DerivedScalarType, float],
) -> Check:
    shares = {key: error / (precision.margin * largest_on_cpu[key[1]]) for key, error in errors.items()}
    worst = max(shares, key=lambda key: shares[key])
    dsts = {dst for _, dst, _, _ in errors}
    detail = (
        f"{len(dsts)} types in {len(errors)} tensors; nearest to its bound: {worst[1].value} "
        f"({worst[2].value}, layer {worst[3]}), error {errors[worst]:.1e}, at most "
        f"{precision.margin * largest_on_cpu[worst[1]]:.1e}"
    )
    passed = dsts == set(ne.DerivedScalarType) and shares[worst] <= 1
    return Check(f"derived scalars, {family}, {precision.name}", passed, detail)
