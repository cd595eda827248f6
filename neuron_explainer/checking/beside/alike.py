"""A model and its counterpart made alike where they differ in how exact they are, which is said once."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neuron_explainer.checking.beside.counterpart import Counterpart
from neuron_explainer.checking.copies import in_dtype, why_not_in
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.transformer import Transformer

Both = tuple[Transformer, Counterpart]


def why_not_both_in(dtype: torch.dtype, model: Transformer, counterpart: Counterpart) -> str | None:
    """Why two models cannot be compared in a dtype; None if they can."""
    if model.dtype == counterpart.dtype == dtype:
        return None
    if not counterpart.can_be_copied:
        return "a method of the counterpart was replaced, so it cannot be copied"
    return why_not_in(dtype, model)


def made_alike(model: Transformer, counterpart: Counterpart) -> Iterator[Finding | Both]:
    """What differs, as findings; then, if it is possible, the two with one dtype and exact rotary frequencies.

    Args:
        model, counterpart: the two, in any dtypes.
    """
    low = counterpart.low_frequencies
    if low is not None:
        name = "rotary frequencies of the counterpart"
        instead = "Load it with dtype=… instead."
        said = f"They are {name_of_dtype(low)}, because the reference was made with .half() or .to(…). {instead}"
        exact = counterpart.with_frequencies_of_config() if counterpart.can_be_copied else None
        if exact is None:
            yield not_checked(name, f"{said} Nothing else is compared.")
            return
        yield not_checked(name, f"{said} Those of its config are compared.")
        counterpart = exact
    if model.dtype != counterpart.dtype:
        name = "dtype of the counterpart's weights"
        coarser = max(model.dtype, counterpart.dtype, key=lambda dtype: torch.finfo(dtype).eps)
        said = (
            f"Weights are {name_of_dtype(model.dtype)} here and {name_of_dtype(counterpart.dtype)} in the counterpart."
        )
        why_not = why_not_both_in(coarser, model, counterpart)
        if why_not is not None:
            yield not_checked(name, f"{said} Nothing else is compared: {why_not}. Load both in one dtype.")
            return
        rounded = f"Both are compared with weights that are rounded to {name_of_dtype(coarser)}."
        yield not_checked(name, f"{said} {rounded}")
        model, counterpart = in_dtype(model, coarser), counterpart.in_dtype(coarser)
    yield model, counterpart
