"""A model and its reference made alike where they differ in how exact they are, which is said once."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neuron_explainer.checking.beside.given_reference import Reference
from neuron_explainer.checking.copies import in_dtype, why_not_in
from neuron_explainer.checking.findings import Finding, not_checked
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.transformer import Transformer

Both = tuple[Transformer, Reference]


def why_not_both_in(dtype: torch.dtype, model: Transformer, reference: Reference) -> str | None:
    """Why two models cannot be compared in a dtype; None if they can."""
    if model.dtype == reference.dtype == dtype:
        return None
    if not reference.can_be_copied:
        return "a method of the reference was replaced, so it cannot be copied"
    return why_not_in(dtype, model)


def made_alike(model: Transformer, reference: Reference) -> Iterator[Finding | Both]:
    """What differs, as findings; then, if it is possible, the two with one dtype and exact rotary frequencies.

    Args:
        model, reference: the two, in any dtypes.
    """
    low = reference.low_frequencies
    if low is not None:
        name = "rotary frequencies of the reference"
        instead = "Load it with dtype=… instead."
        said = f"They are {name_of_dtype(low)}, because the reference was made with .half() or .to(…). {instead}"
        exact = reference.with_frequencies_of_config() if reference.can_be_copied else None
        if exact is None:
            yield not_checked(name, f"{said} Nothing else is compared.")
            return
        yield not_checked(name, f"{said} Those of its config are compared.")
        reference = exact
    if model.dtype != reference.dtype:
        name = "dtype of the reference's weights"
        coarser = max(model.dtype, reference.dtype, key=lambda dtype: torch.finfo(dtype).eps)
        said = f"Weights are {name_of_dtype(model.dtype)} here and {name_of_dtype(reference.dtype)} in the reference."
        why_not = why_not_both_in(coarser, model, reference)
        if why_not is not None:
            yield not_checked(name, f"{said} Nothing else is compared: {why_not}. Load both in one dtype.")
            return
        rounded = f"Both are compared with weights that are rounded to {name_of_dtype(coarser)}."
        yield not_checked(name, f"{said} {rounded}")
        model, reference = in_dtype(model, coarser), reference.in_dtype(coarser)
    yield model, reference
