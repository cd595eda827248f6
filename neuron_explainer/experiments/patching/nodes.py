"""Which nodes are patched: all combinations of the axes that a caller asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.experiments.patching.sites import PatchedNode, Site
from neuron_explainer.vocabulary.checks import is_several

ByGiven = str | Iterable[str] | None
_BY_POSITION = ("resid", "attn", "mlp")


def read_axes(site: Site, by: ByGiven) -> tuple[str, ...]:
    """The axes that nodes are told apart by.

    Args:
        site: what is patched.
        by: the axes' names, in the order of columns; None: layer and position of vectors, and layer and component of
            what has components.

    Raises:
        UnknownNameError: the place does not have such an axis.
        InvalidRequestError: an axis is given twice, there is none, or the layer is left out.
    """
    choices = [
        *(["layer"] if site.has_layers else []),
        *([site.component] if site.component is not None else []),
        "position",
    ]
    if by is None:
        is_vector = site.component is None or site.asked in _BY_POSITION
        return tuple(choice for choice in choices if choice != ("position" if not is_vector else site.component))
    given = [by] if isinstance(by, str) else list(by) if is_several(by) else None
    if given is None:
        raise InvalidRequestError(f"by is {shown(by)}. Give names of axes, such as {tuple(choices)}.")
    axes = []
    for axis in given:
        name = axis.strip().lower() if isinstance(axis, str) else axis
        if name not in choices:
            raise UnknownNameError(f"axis of {site.asked}", axis, choices)
        axes.append(name)
    if len(set(axes)) < len(axes) or not axes:
        raise InvalidRequestError(f"by is {shown(by)}. Give each axis once. Choose some of: {', '.join(choices)}.")
    if site.has_layers and "layer" not in axes:
        raise InvalidRequestError(f'by is {shown(by)}. Each patch is in one layer: give "layer" too.')
    return tuple(axes)


def nodes_of(site: Site, axes: Sequence[str], n_tokens: int) -> list[PatchedNode]:
    """Every node, in the order of the axes.

    Args:
        site: what is patched.
        axes: the axes that nodes are told apart by.
        n_tokens: how many tokens the prompts have.
    """
    layers = list(site.keys)
    by_layer = {
        layer: [
            PatchedNode(layer, position, component)
            for position, component in product(
                range(n_tokens) if "position" in axes else [None],
                range(site.n_components(layer)) if site.component in axes else [None],
            )
        ]
        for layer in layers
    }
    nodes = [node for layer in layers for node in by_layer[layer]]
    return sorted(nodes, key=lambda node: [-1 if value is None else value for value in coordinates(node, axes)])


def coordinates(node: PatchedNode, axes: Sequence[str]) -> list[int | None]:
    """A node's place on each axis."""
    return [{"layer": node.layer, "position": node.position}.get(axis, node.component) for axis in axes]
