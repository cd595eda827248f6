"""The exact effect of patches: each is a row of a batch that runs from the patched layer on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neuron_explainer.attribution.computing.batches import batches_of_rows
from neuron_explainer.experiments.asking.two_prompts import TwoPrompts
from neuron_explainer.experiments.patching.runs import TwoRuns
from neuron_explainer.experiments.patching.sites import PatchedNode
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import part_of_work


def exact_values(runs: TwoRuns, nodes: Sequence[PatchedNode], done: Callable[[int], object]) -> list[float]:
    """The metric with each node patched alone.

    Args:
        runs: the two runs. They are the first part of the work that is watched; see `n_batches`.
        nodes: what each patch writes.
        done: told how many more patches are measured.
    """
    batches = _batches(runs.model, runs.prompts, nodes)
    values = [0.0] * len(nodes)
    for number, own in enumerate(batches):
        with part_of_work(1 + number, 1 + len(batches)), torch.no_grad():
            found = _patched_values(runs, [nodes[each] for each in own]).tolist()
        for each, value in zip(own, found, strict=True):
            values[each] = value
        done(len(own))
    return values


def n_batches(model: Transformer, prompts: TwoPrompts, nodes: Sequence[PatchedNode]) -> int:
    """In how many passes so many nodes are patched."""
    return len(_batches(model, prompts, nodes))


def _batches(model: Transformer, prompts: TwoPrompts, nodes: Sequence[PatchedNode]) -> list[list[int]]:
    """The numbers of the nodes that share a pass: some of one layer, no more than memory allows."""
    by_layer: dict[int | None, list[int]] = {}
    for number, node in enumerate(nodes):
        by_layer.setdefault(node.layer, []).append(number)
    n_tokens, n_logits = len(prompts.clean.token_ids), prompts.logits_of_row(model)
    return [
        [own[each] for each in batch]
        for own in by_layer.values()
        for batch in batches_of_rows(len(own), n_tokens, n_logits, model)
    ]


def _patched_values(runs: TwoRuns, nodes: Sequence[PatchedNode]) -> Tensor:
    """The metric of a batch of patches, all in one layer."""
    site, layer = runs.site, nodes[0].layer
    source = runs.source(layer)

    def write(tensor: Tensor) -> Tensor:
        for row, node in enumerate(nodes):
            where = site.where(node)
            tensor[(row, *where)] = source[where]
        return tensor

    if site.is_read_by_a_layer(layer):
        patched = runs.patched(layer)
        resid = write(patched.repeat(len(nodes), *[1] * patched.ndim))
        return runs.values(site.layer_after(layer), len(nodes), resid=resid)
    patch = runs.model.intervention(*site.keys[layer], write)
    values = runs.values(site.first_layer(layer), len(nodes), [*site.hooks([layer]), patch])
    patch.raise_if_never_fired()
    return values
