"""What each dtype costs, place by place: how far it is from float64, here and in the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuron_explainer.checking.beside.theirs import their_places
from neuron_explainer.checking.comparison import LOGITS_KEY, difference_at, in_order
from neuron_explainer.checking.findings import Finding, Where, failed, passed
from neuron_explainer.checking.passes import all_places
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.routers import router_may_flip, settled
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer

if TYPE_CHECKING:
    import pandas

_MOST_TIMES, _MOST_ROUNDINGS = 4.0, 2
"""How many times as far from float64 as the reference a dtype may be: the order of sums alone makes a difference."""


Pass = dict[PlaceAndLayer, Tensor]
Row = tuple[str, str, int | None, float, float]


def precision_of(
    dtype: torch.dtype, models: tuple[Transformer, Any], exact: tuple[Pass, Pass], probe: Probe
) -> tuple[Finding, list[Row]]:
    """What a dtype costs, and whether it costs much more here than in the reference: each beside its own exact pass.

    Args:
        dtype: the dtype.
        models: the model and its reference, in that dtype.
        exact: the tensors of both at every place, in float64.
        probe: the prompts.

    Raises:
        UnobservableError, NotFinitePassError: the reference gives nothing to measure.
    """
    model, theirs = models
    found, config = (all_places(model, probe), their_places(theirs, probe)), model.config
    apart = {
        key: [
            settled(difference_at(key, own[key], of_exact[key], probe.real), config, dtype, probe.real).relative
            for own, of_exact in zip(found, exact, strict=True)
        ]
        for key in in_order(config.n_layers)
    }
    name = name_of_dtype(dtype)
    rows = [(name, place.value, layer, here, there) for (place, layer), (here, there) in apart.items()]
    check = f"precision of {name}"
    if not all(math.isfinite(here) for here, _ in apart.values()):
        return failed(check, "Numbers are not finite; those of the reference are."), rows
    eps = torch.finfo(dtype).eps
    several = {key: (here, _MOST_TIMES * there + _MOST_ROUNDINGS * eps) for key, (here, there) in apart.items()}
    key = next((each for each, (here, allowed) in several.items() if not here <= allowed), LOGITS_KEY)
    here, allowed = several[key]
    where, about = Where(*key), " at the median token" if router_may_flip(config, dtype) else ""
    far = f"{here:.2g} from float64{about}, as a share of the largest; the reference is {apart[key][1]:.2g} from it"
    if here <= allowed:
        return passed(check, f"No place costs much more here. Logits are {far}.", here, allowed), rows
    return failed(check, f"It costs more here, first at {where}: {far}.", here, allowed, where), rows


def precision_table(rows: Sequence[Row]) -> pandas.DataFrame:
    """A row for each dtype, place and layer."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=["dtype", "place", "layer", "here", "in the reference"])
    return table.astype({"layer": "Int64"})
