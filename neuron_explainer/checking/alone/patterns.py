"""Attention patterns: rows that sum to 1, over tokens that may be attended to, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from neuron_explainer.checking.findings import Finding, Where, failed, not_checked, passed
from neuron_explainer.checking.probes import Probe
from neuron_explainer.checking.tolerances import allowed_in
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType.ATTN_QK_PROBS


def attention_rows(model: Transformer, probe: Probe, recorded: Mapping[PlaceAndLayer, Tensor]) -> Iterator[Finding]:
    """Whether every row of every head is a distribution over the tokens that it may attend to, with a sink beside them.

    Args:
        model: the model.
        probe: the prompts.
        recorded: the patterns of a pass.
    """
    yield from attention_rows_of(model, probe, recorded, range(model.config.n_layers))
    n = probe.tokens.shape[1]
    windows = sorted({each for each in model.config.sliding_window_by_layer if each is not None and each >= n})
    if windows:
        yield not_checked(
            "who attends to whom",
            f"The prompts have {n} tokens; windows of {', '.join(map(str, windows))} are longer. thorough=True looks.",
        )


def attention_rows_of(
    model: Transformer, probe: Probe, recorded: Mapping[PlaceAndLayer, Tensor], layers: Iterable[int]
) -> Iterator[Finding]:
    """As `attention_rows`, for some layers.

    Args:
        model: the model.
        probe: the prompts.
        recorded: their patterns.
        layers: the layers.
    """
    config, n = model.config, probe.tokens.shape[1]
    allowed = allowed_in(model.dtype)
    sums, outside = [], []
    for layer in layers:
        pattern = recorded[_PLACE, layer].detach().cpu().double()[probe.real]  # (tokens, attended_to, heads)
        prompt, token = torch.nonzero(probe.real, as_tuple=True)
        others = torch.arange(n, dtype=torch.int64, device="cpu")
        window = config.sliding_window_by_layer[layer]
        hidden = others > token[:, None]
        if window is not None:
            hidden |= others <= token[:, None] - window
        total = pattern.sum(1).amin(-1), pattern.sum(1).amax(-1)
        too_much, too_little = total[1] - 1, 1 - total[0]
        apart = too_much if config.attention_sinks else torch.maximum(too_much, too_little)
        sums.append((layer, prompt, token, apart.nan_to_num(nan=1.0)))
        beyond = (pattern.amax(-1) * hidden).amax(1)
        outside.append((layer, prompt, token, torch.maximum(beyond, -pattern.amin(-1).amin(1))))
    about = " at most 1, what a sink takes left out" if config.attention_sinks else " 1"
    yield _finding(
        "rows of attention",
        sums,
        allowed,
        f"Every row of every pattern sums to{about}.",
        f"A row does not sum to{about}, first at",
    )
    yield _finding(
        "who attends to whom",
        outside,
        0.0,
        "No token attends to a later one, to padding, or beyond its window.",
        "A token attends to one that it may not see, or with a negative weight, first at",
    )


def _finding(
    check: str, several: list[tuple[int, Tensor, Tensor, Tensor]], allowed: float, agrees: str, differs: str
) -> Finding:
    largest = 0.0
    for layer, prompt, token, apart in several:
        largest = max(largest, float(apart.max()))
        wrong = torch.nonzero(apart > allowed)
        if len(wrong):
            first = int(wrong[0])
            where = Where(_PLACE, layer, int(token[first]), int(prompt[first]))
            return failed(check, f"{differs} {where}.", float(apart.max()), allowed, where)
    return passed(check, agrees, largest, allowed)
