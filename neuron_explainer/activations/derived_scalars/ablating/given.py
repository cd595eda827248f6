"""Ablations as a call gives them: one, several, or several for each prompt."""

from __future__ import annotations

from collections.abc import Iterable

from neuron_explainer.activations.derived_scalars.ablating.bound_ablation import BoundAblation
from neuron_explainer.activations.derived_scalars.ablations import AblationSpec
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation, TensorAblation
from neuron_explainer.errors import MisconfiguredError, shown

AblationsGiven = Ablation | Iterable[Ablation] | None
"""One ablation or several."""
AblationsByPrompt = AblationsGiven | Iterable[Iterable[Ablation]]
"""One ablation or several for all prompts; or a list with a list for each prompt."""


def bound_ablations(given: AblationsByPrompt, n_prompts: int | None = None) -> tuple[BoundAblation, ...]:
    """What a call gives, each with the prompt that it is for.

    Args:
        given: one ablation or several; or a list of lists, one for each prompt. None stands for none.
        n_prompts: how many prompts there are; None where ablations cannot be given for each prompt.

    Raises:
        MisconfiguredError: there is something else among them, single ablations and lists are mixed, or the number of
            lists is not that of the prompts.
    """
    if given is None or isinstance(given, Ablation):
        return () if given is None else (_bound(given, None),)
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise MisconfiguredError(f"ablations must be AblationSpecs, not {shown(given)}.")
    entries = list(given)
    lists = [entry for entry in entries if not isinstance(entry, Ablation | str) and isinstance(entry, Iterable)]
    if not lists:
        return tuple(_bound(_checked(entry), None) for entry in entries)
    if n_prompts is None:
        raise MisconfiguredError(
            "ablations holds a list. Only derive_batch takes lists of ablations, one for each prompt; here give one "
            "flat list."
        )
    if len(lists) < len(entries):
        other = next(entry for entry in entries if not any(entry is listed for listed in lists))
        raise MisconfiguredError(
            f"ablations holds lists and also {shown(other)}. Give one flat list for all prompts, or a list of "
            "lists, one for each prompt."
        )
    if len(lists) != n_prompts:
        raise MisconfiguredError(
            f"ablations holds {len(lists)} lists for {n_prompts} prompts. Give one for each prompt, perhaps empty."
        )
    return tuple(_bound(_checked(entry), row) for row, listed in enumerate(lists) for entry in listed)


def _checked(entry: object) -> Ablation:
    if isinstance(entry, AblationSpec | TensorAblation):
        return entry
    raise MisconfiguredError(
        f"ablations holds {shown(entry)}. Give AblationSpecs: AblationSpec(activation_index, value)."
    )


def _bound(ablation: Ablation, row: int | None) -> BoundAblation:
    if isinstance(ablation, TensorAblation):
        return BoundAblation(ablation.index, ablation.values, ablation.tokens, row, ablation.n_tokens)
    return BoundAblation(ablation.index, ablation.value, ablation.tokens, row)
