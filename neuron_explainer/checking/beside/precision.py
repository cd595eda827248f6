"""What each dtype costs, place by place: how far it is from float64, here and in the counterpart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuron_explainer.checking.alone.repeated import everything
from neuron_explainer.checking.beside.counterpart import Counterpart
from neuron_explainer.checking.beside.theirs import their_places
from neuron_explainer.checking.comparison import PlaceDifference, difference_at, in_order
from neuron_explainer.checking.copies import in_dtype
from neuron_explainer.checking.findings import Finding, Where, failed, passed
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.routers import router_may_flip, settled
from neuron_explainer.models.devices import name_of_dtype
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    import pandas

_MOST_TIMES = 4.0
"""How many times as far from float64 as the counterpart a dtype may be: the order of sums alone makes a difference."""


def precision(
    model: Transformer,
    counterpart: Counterpart,
    exact: dict[PlaceAndLayer, Tensor],
    probe: Probe,
    dtypes: Sequence[torch.dtype],
) -> tuple[list[Finding], pandas.DataFrame]:
    """What each dtype costs, and whether it costs much more here than in the counterpart.

    Args:
        model, counterpart: the two models, in any dtype.
        exact: the tensors at every place in float64.
        probe: the prompts.
        dtypes: the dtypes.
    """
    import pandas as pd

    rows, findings = [], []
    for dtype in dtypes:
        ours = everything(in_dtype(model, dtype), probe)
        theirs = their_places(counterpart.in_dtype(dtype).model, probe)
        name = name_of_dtype(dtype)
        for key in in_order(model.config.n_layers):
            both = [difference_at(key, each[key], exact[key], probe.real) for each in (ours, theirs)]
            rows.append((name, key[0].value, key[1], both[0].relative, both[1].relative))
        findings.append(_finding(model.config, dtype, both, probe))
    table = pd.DataFrame(rows, columns=["dtype", "place", "layer", "here", "in the counterpart"])
    return findings, table.astype({"layer": "Int64"})


def _finding(config: TransformerConfig, dtype: torch.dtype, logits: list[PlaceDifference], probe: Probe) -> Finding:
    """Whether logits cost much more precision here."""
    here, there = (settled(each, config, dtype, probe.real).relative for each in logits)
    allowed = _MOST_TIMES * there + 8 * torch.finfo(dtype).eps
    check = f"precision of {name_of_dtype(dtype)}"
    at = "At the middle one of all tokens, logits" if router_may_flip(config, dtype) else "Logits"
    said = f"{at} are {here:.2g} from those of float64, as a share of the largest; in the counterpart {there:.2g}."
    if here <= allowed:
        return passed(check, said, here, allowed)
    return failed(check, said, here, allowed, Where(ActivationLocationType.LOGITS))
