"""`Component.neighbours`: what is asked for, and the most alike of what is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind, kind_given
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.neighbours.by_direction import cosines_by_layer, decoder_weights
from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layer, checked_layers, checked_number

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.collation.corpus.texts import TextsGiven
    from neuron_explainer.components.component import Component

_BY = ("write", "read", "activation")


def neighbours_of(
    component: Component,
    n: SupportsIndex,
    by: str,
    *,
    among: str | None,
    layers: LayersGiven,
    texts: TextsGiven | None,
    progress: bool | None,
) -> pandas.DataFrame:
    """See `Component.neighbours`."""
    count = checked_number("n", n)
    if by not in _BY:
        raise UnknownNameError("kind of neighbours", str(by), _BY)
    kind = component.kind if among is None else _kind_of(among)
    if NodeKind.HEAD in (kind, component.kind) and kind is not component.kind and by != "activation":
        raise InvalidRequestError(
            f"{component.name} is {component.kind.meaning}, and what a head writes and reads are matrices, not "
            'directions. Compare heads with heads, or all kinds by="activation".'
        )
    if texts is not None and by != "activation":
        raise InvalidRequestError(f'texts are for neighbours by="activation", not by={by!r}. Leave them out.')
    context = component.model(f"neighbours(by={by!r})")
    chosen = layers_searched(component, kind, layers, context.n_layers)
    if by == "activation":
        from neuron_explainer.components.neighbours.by_activation import neighbours_by_activation

        return neighbours_by_activation(component, count, kind, chosen, texts, progress)
    with torch.no_grad():
        by_layer = cosines_by_layer(component, by, kind, chosen)
    table = most_alike(component, kind, by_layer, count, "cosine")
    if kind is NodeKind.NEURON and by == "write":
        weights = decoder_weights(component)
        if weights is not None:
            own = table["layer"] == component.layer
            table["decoder_weight"] = [
                float(weights[index]) if here else float("nan")
                for index, here in zip(table["component"], own, strict=True)
            ]
    return table


def most_alike(
    component: Component, kind: NodeKind, by_layer: dict[int, Tensor], n: int, column: str
) -> pandas.DataFrame:
    """The n components with the largest numbers, without the component itself and those whose number is NaN."""
    values, layers, numbers = [], [], []
    for layer, of_layer in by_layer.items():
        of_layer = of_layer.detach().double().cpu().clone()
        if layer == component.layer and kind is component.kind:
            of_layer[component.index] = float("nan")
        of_layer = of_layer.nan_to_num(nan=-float("inf"), posinf=-float("inf"))
        best = of_layer.topk(min(n, len(of_layer)))
        values += best.values.tolist()
        numbers += best.indices.tolist()
        layers += [layer] * len(best.values)
    return neighbour_table(component, kind, (values, layers, numbers), n, column)


def neighbour_table(
    component: Component, kind: NodeKind, found: tuple[list[float], list[int], list[int]], n: int, column: str
) -> pandas.DataFrame:
    """The n with the largest numbers; those of minus infinity are left out.

    Args:
        component: what they are neighbours of.
        kind: their kind.
        found: the number, the layer and the place in it of each.
        n: how many are kept.
        column: what the numbers are.
    """
    values, layers, numbers = found
    order = sorted(range(len(values)), key=lambda place: (-values[place], layers[place], numbers[place]))
    kept = [place for place in order if values[place] > -float("inf")][:n]
    autoencoder = component.name.autoencoder if kind is NodeKind.LATENT else None
    names = [str(NodeName(kind, layers[place], numbers[place], autoencoder=autoencoder)) for place in kept]
    return TokenTable(
        {
            "name": names,
            "layer": [layers[place] for place in kept],
            "component": [numbers[place] for place in kept],
            column: [values[place] for place in kept],
        }
    )


def _kind_of(among: str) -> NodeKind:
    try:
        kind = kind_given(among)
    except UnknownNameError:
        kind = None
    if kind is None or kind not in COMPONENTS:
        raise UnknownNameError("kind of component", str(among), [each.value for each in COMPONENTS])
    return kind


def layers_searched(component: Component, kind: NodeKind, asked: LayersGiven, n_layers: int) -> list[int]:
    """The layers to search, ascending: of latents, those that have an autoencoder."""
    if asked is not None:
        several = checked_layers("layers", asked)
        return sorted(checked_layer(layer, n_layers, "layers: the model") for layer in several)
    if kind is not NodeKind.LATENT:
        return list(range(n_layers))
    return list(component.autoencoders_of_latents("neighbours()").layer_indices)
