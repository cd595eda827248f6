"""A pass of the reference: its logits, and its tensors at every place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuron_explainer.checking.beside.evaluation import evaluating
from neuron_explainer.checking.comparison import LOGITS_KEY, difference_at
from neuron_explainer.checking.probes import Probe
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.parity.reference import ObservedModules

_MOST_APART = {torch.float64: 0.02, torch.float32: 0.02, torch.float16: 0.2, torch.bfloat16: 0.5}
"""How far the observed pass may be from the reference's own: its attention may round elsewhere."""


class UnobservableError(InvalidRequestError):
    """The installed transformers computes attention where it cannot be observed."""


def their_logits(hf_model: Any, probe: Probe) -> Tensor:
    """The logits of a pass, in the mode and with the implementations that are set: use it within `evaluating`."""
    device = next(hf_model.parameters()).device
    with torch.no_grad():
        logits: Tensor = hf_model(
            input_ids=probe.tokens.to(device), attention_mask=probe.real.to(device), use_cache=False
        ).logits
    return logits


class NotFinitePassError(InvalidRequestError):
    """The logits of the reference are not finite."""


def their_places(hf_model: Any, probe: Probe) -> dict[PlaceAndLayer, Tensor]:
    """The tensors of a pass at every place, in the shapes of our recordings.

    Places are observed at the reference's modules, and within attention; the logits are those of a pass that is not
    observed.

    Raises:
        UnobservableError: the installed transformers computes attention where it cannot be observed.
        NotFinitePassError: its logits are not finite.
    """
    observed = ObservedModules(hf_model)
    device = next(hf_model.parameters()).device
    with evaluating(hf_model):
        logits = their_logits(hf_model, probe)
        if not bool(torch.isfinite(logits[probe.real.to(logits.device)]).all()):
            raise NotFinitePassError(f"The reference's logits are not finite in {name_of_dtype(logits.dtype)}.")
        of_observed = observed.run(probe.tokens.to(device), probe.real.to(device))
    apart = difference_at(LOGITS_KEY, of_observed, logits, probe.real).relative
    if len(observed.attention) != observed.model.config.n_layers or not apart < _MOST_APART.get(logits.dtype, 0.5):
        raise UnobservableError(
            f"The installed transformers computes the attention of {type(hf_model).__name__} in a way that cannot be "
            "observed. Compare with transformers 5 or newer."
        )
    return {**observed.places(), LOGITS_KEY: logits}


def refuse_other_shapes(found: dict[PlaceAndLayer, Tensor], expected: dict[PlaceAndLayer, Tensor]) -> None:
    """Refuse a reference of which a place has another shape.

    Raises:
        InvalidRequestError: one has; the error names it.
    """
    for (place, layer), ours in found.items():
        theirs = expected[place, layer]
        if ours.shape != theirs.shape:
            where = place.value if layer is None else f"{place.value} of layer {layer}"
            raise InvalidRequestError(
                f"{where} has shape {tuple(ours.shape)} here and {tuple(theirs.shape)} in the reference. Does the "
                "family name the right tensors?"
            )
