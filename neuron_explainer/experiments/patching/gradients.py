"""Estimates of patches by gradients: at the run that is patched, or on the straight way between the two runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neuron_explainer.attribution.computing.batches import batches_of_rows
from neuron_explainer.experiments.patching.runs import TwoRuns
from neuron_explainer.experiments.patching.sites import PatchedNode, Site
from neuron_explainer.models.hooks.contexts import Hook
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.watching import part_of_work


def gradient_effects(runs: TwoRuns, nodes: Sequence[PatchedNode], done: Callable[[int], object]) -> list[float]:
    """Attribution patching: what each patch changes, times the metric's gradient there, in one pass for all nodes.

    Args:
        runs: the two runs. They are the first part of the work that is watched.
        nodes: what each patch writes.
        done: told how many more layers are done.
    """
    site = runs.site
    graph = runs.model.recording(site.keys.values(), gradients=True)
    with part_of_work(1, 2):
        _differentiate(runs, graph, None, 1, [*site.hooks(site.keys), graph])
    products = {
        layer: runs.change(layer) * at_least_float32(graph.gradient(*key)[0]) for layer, key in site.keys.items()
    }
    done(len(site.keys))
    return _of_nodes(site, products, nodes)


def integrated_effects(
    runs: TwoRuns, nodes: Sequence[PatchedNode], steps: int, done: Callable[[int], object]
) -> list[float]:
    """Integrated gradients over activations: the gradient's mean between the runs, one layer's tensor at a time.

    The tensor is replaced as a whole, by a + (b - a)(i + 1/2) / steps for i = 0, …, steps - 1, and all that is below it
    stays that of the run that is patched. So the effects of a layer's nodes sum up to that of patching all of them, but
    for the error of the sum over steps.

    Args:
        runs: the two runs. They are the first part of the work that is watched.
        nodes: what each patch writes.
        steps: how many gradients the mean is of.
        done: told how many more layers are done.
    """
    products = {}
    for number, layer in enumerate(runs.site.keys):
        with part_of_work(1 + number, 1 + len(runs.site.keys)):
            products[layer] = runs.change(layer) * _mean_gradient(runs, layer, steps)
        done(1)
    return _of_nodes(runs.site, products, nodes)


def _mean_gradient(runs: TwoRuns, layer: int | None, steps: int) -> Tensor:
    """The mean of the gradients at one layer's tensor, on the way from the run that is patched to the other."""
    site, key = runs.site, runs.site.keys[layer]
    start, change = at_least_float32(runs.patched(layer)), runs.change(layer)
    total = torch.zeros_like(change)
    batches = list(batches_of_rows(steps, runs.n_tokens, runs.prompts.logits_of_row(runs.model), runs.model))
    for number, batch in enumerate(batches):
        shares = [(step + 0.5) / steps for step in batch]

        def between(tensor: Tensor, shares: Sequence[float] = shares) -> Tensor:
            return torch.stack([start + share * change for share in shares]).to(tensor.dtype)

        graph = runs.model.recording([key], gradients=True)
        hooks: list[Hook] = [*site.hooks([layer]), runs.model.intervention(*key, between), graph]
        with part_of_work(number, len(batches)):
            _differentiate(runs, graph, site.first_layer(layer), len(shares), hooks)
        total += at_least_float32(graph.gradient(*key)).sum(0)
    return total / steps


def _differentiate(
    runs: TwoRuns, graph: Recording, first_layer: int | None, n_rows: int, hooks: Sequence[Hook]
) -> None:
    """A forward and a backward pass of the metric, summed over rows."""
    with torch.enable_grad():
        with part_of_work(0, 2):
            values = runs.values(first_layer, n_rows, hooks)
        with part_of_work(1, 2):
            graph.backward(values.sum())


def _of_nodes(site: Site, products: dict[int | None, Tensor], nodes: Sequence[PatchedNode]) -> list[float]:
    """The sum of a layer's products over each node's numbers."""
    by_layer = {}
    for layer, product in products.items():
        axes = [axis for axis in range(1, product.ndim) if axis != site.component_axis]
        summed = product.sum(axes) if axes else product
        summed = summed if summed.ndim > 1 else summed[:, None]
        by_layer[layer] = torch.cat((summed, summed.sum(0, keepdim=True))).tolist()  # the last row: all positions
    effects = []
    for node in nodes:
        row = by_layer[node.layer][-1 if node.position is None else node.position]
        effects.append(sum(row) if node.component is None else row[node.component])
    return effects
