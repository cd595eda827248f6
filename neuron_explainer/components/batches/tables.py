"""What neurons and latents write, read and are like, a block of a layer's components at a time.

The numbers are those of `Component.writes`, `reads` and `neighbours`. A block has as many components as make a matrix
of `MOST_ENTRIES` numbers with the vocabulary or with a layer; at most about six such matrices exist at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.attribution.single_nodes.directions import latent_writes, neuron_writes
from neuron_explainer.components.finite_weights import check_finite_rows
from neuron_explainer.components.neighbours.asking import layers_searched, neighbour_table
from neuron_explainer.components.neighbours.by_direction import unit_directions
from neuron_explainer.components.vocabulary.read import latents_on_vocabulary, neurons_on_vocabulary
from neuron_explainer.components.vocabulary.token_rows import token_tables
from neuron_explainer.components.vocabulary.written import centred_logits
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.watching import stop_if_asked

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component

MOST_ENTRIES = 2**23
"""Of the numbers that a block makes with the vocabulary: 32 MiB in float32."""

Tables = list["pandas.DataFrame"]


def block_size(component: Component, most_entries: int = MOST_ENTRIES) -> int:
    """How many components are computed at once.

    Args:
        component: one of them.
        most_entries: how many numbers they make with the vocabulary, or with the largest layer.
    """
    model = component.transformer("writes()")
    widest = max(model.config.vocab_size, _layer_size(component))
    return max(1, most_entries // widest)


def blocks(component: Component, wanted: range, at_once: int) -> Iterator[range]:
    """Some consecutive components of a layer, in blocks; an expert's neurons are not mixed with another's."""
    mlp = component.block("writes()").mlp
    of_expert = mlp.d_expert if component.kind is NodeKind.NEURON and isinstance(mlp, MixtureOfExperts) else None
    start = wanted.start
    while start < wanted.stop:
        stop = min(start + at_once, wanted.stop)
        if of_expert is not None:
            stop = min(stop, (start // of_expert + 1) * of_expert)
        yield range(start, stop)
        start = stop


@torch.no_grad()
def written_tables(component: Component, block: range, n: int) -> Tables:
    """What each of a block's components writes, as `Component.writes(n)`.

    Args:
        component: one neuron or latent of the layer.
        block: consecutive components of it, as `blocks` gives them.
        n: how many tokens.

    Raises:
        InvalidRequestError, NotAtHandError, NonFiniteTensorError: as `Component.writes`.
    """
    stop_if_asked()
    bound, layer = component.bound("writes()"), component.layer
    if component.kind is NodeKind.NEURON:
        rows = [neuron_writes(bound, layer, index) for index in block]
    else:
        rows = [latent_writes(bound, component.dst.node_type, layer, index) for index in block]
    values = centred_logits(bound.model, torch.cat(rows))
    check_finite_rows(values, layer, component.kind.symbol, "writes", block.start)
    return token_tables(component.model("writes()"), values, n, {})


@torch.no_grad()
def read_tables(component: Component, block: range, n: int) -> Tables:
    """What each of a block's components reads, as `Component.reads(n)`; arguments and errors as `written_tables`."""
    stop_if_asked()
    if component.kind is NodeKind.NEURON:
        model = component.transformer("reads()")
        values, others = neurons_on_vocabulary(model, component.block("reads()"), block)
    else:
        values, others = latents_on_vocabulary(component, block), {}
    for each in (values, *others.values()):
        check_finite_rows(each, component.layer, component.kind.symbol, "reads", block.start)
    return token_tables(component.model("reads()"), values, n, others)


@torch.no_grad()
def neighbour_tables(component: Component, block: range, n: int, by: str) -> Tables:
    """The neighbours of each of a block's components in all layers, as `Component.neighbours(n, by)`.

    Args:
        component, block, n: as for `written_tables`.
        by: "write" or "read".

    Raises:
        InvalidRequestError, NotAtHandError: as `Component.neighbours`.
    """
    kind, context = component.kind, component.model(f"neighbours(by={by!r})")
    own = unit_directions(component, by, kind, component.layer)[block.start : block.stop]
    found: list[tuple[list[float], list[int], list[int]]] = [([], [], []) for _ in block]
    for layer in layers_searched(component, kind, None, context.n_layers):
        stop_if_asked()
        rows = unit_directions(component, by, kind, layer).to(own.device)
        cosines = own.to(rows.dtype) @ rows.T
        if layer == component.layer:
            at = torch.arange(len(block), dtype=torch.int64, device=cosines.device)
            cosines[at, at + block.start] = float("nan")
        cosines = cosines.nan_to_num_(nan=-float("inf"), posinf=-float("inf"))
        best = cosines.topk(min(n, cosines.shape[1]))
        for each, values, numbers in zip(found, best.values.tolist(), best.indices.tolist(), strict=True):
            each[0].extend(values)
            each[1].extend([layer] * len(values))
            each[2].extend(numbers)
    return [neighbour_table(component, kind, each, n, "cosine") for each in found]


def _layer_size(component: Component) -> int:
    if component.kind is NodeKind.NEURON:
        return component.model("writes()").n_neurons
    return component.autoencoder("writes()").n_latents
