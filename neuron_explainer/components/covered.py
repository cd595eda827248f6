"""Which components a dataset or a model has, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
from neuron_explainer.activations.dataset_types import numbered_entries
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind, kind_of_node_type
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName
from neuron_explainer.activations.derived_scalars.names.records import record_asked
from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.components.component import Component
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.storage.locations import is_url
from neuron_explainer.vocabulary.checks import LayersGiven, check_covered, checked_layers
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

NodesGiven = NodeGiven | Iterable[NodeGiven] | None
"""Components by their names, or indices of nodes; None: all."""


def nodes_by_layer(nodes: NodesGiven, dst: DerivedScalarType) -> dict[int, list[int]] | None:
    """The numbers of the components that are asked for, by layer, ascending; None for all.

    Raises:
        InvalidRequestError: none is named, or one is not a component of the derived scalar.
        NodeNameError: a text is not the name of a node.
    """
    if nodes is None:
        return None
    several: list[Any] = [nodes] if isinstance(nodes, str) or not isinstance(nodes, Iterable) else list(nodes)
    if not several:
        raise InvalidRequestError("nodes is empty. Name at least one, or use None for all.")
    found: dict[int, set[int]] = {}
    for node in several:
        layer, index, _ = record_asked(node, dst)
        found.setdefault(layer, set()).add(index)
    return {layer: sorted(found[layer]) for layer in sorted(found)}


def components_asked(
    component: Component, layers: LayersGiven, nodes: Mapping[int, Sequence[int]] | None
) -> dict[int, Sequence[int]]:
    """The numbers of the components that are asked for, by layer, ascending.

    Args:
        component: one of them, or any of the dataset.
        layers: the layers; None: all.
        nodes: the components; None: all.

    Raises:
        InvalidRequestError: the dataset is at an address and no nodes are named, or has no such layer or component.
    """
    asked = None if layers is None else checked_layers("layers", layers)
    if nodes is not None and asked is not None:
        nodes = {layer: several for layer, several in nodes.items() if layer in asked}
        if not nodes:
            raise InvalidRequestError(f"No node of nodes is in layers {shown(list(asked))}. Leave out one of the two.")
    covered = components_of_layers(component, None if nodes is None else list(nodes))
    if covered is None:
        if nodes is None:
            raise InvalidRequestError(
                "The dataset is at an address, which lists no components. Name them: nodes=['L5N131', …]."
            )
        return dict(nodes)
    subject = "The dataset" if component.at_hand.dataset else "The model"
    for layer in [*(asked or ()), *(nodes or ())]:
        check_covered("layer", layer, covered, subject)
    if nodes is None:
        chosen = sorted(covered if asked is None else asked)
        return {layer: covered[layer] for layer in chosen if covered[layer]}
    for layer, several in nodes.items():
        for index in several:
            check_covered(component.kind.value, index, covered[layer], f"{subject}'s layer {layer}")
    return dict(nodes)


def components_of_layers(component: Component, layers: list[int] | None) -> dict[int, Sequence[int]] | None:
    """The numbers of the components that there are, ascending, by layer; None if that is not known.

    Args:
        component: one of them, or any of the dataset.
        layers: the layers that are wanted, where each must be looked at; None: all.
    """
    if component.at_hand.dataset is None:
        context = component.model("components")
        if component.kind is NodeKind.LATENT:
            several = component.autoencoders_of_latents("components")
            return {layer: range(several.get_autoencoder(layer).n_latents) for layer in several.layer_indices}
        n = context.n_attention_heads if component.kind is NodeKind.HEAD else context.n_neurons
        return {layer: range(n) for layer in range(context.n_layers)}
    path = resolve_neuron_dataset(component.at_hand.dataset, component.dst)
    if is_url(path):
        return None
    if is_packed_dataset(path):
        info = open_packed_dataset(path).info
        return {layer: range(info.n_components) for layer in sorted(info.layer_indices)}
    numbers = sorted(numbered_entries(Path(path), ""))
    wanted = [layer for layer in numbers if layers is None or layer in layers]
    return {layer: sorted(numbered_entries(Path(path) / str(layer), ".json")) for layer in wanted}


def first_name(dst: DerivedScalarType, nodes: dict[int, list[int]] | None, layer: int = 0) -> str:
    """The name of a component of the derived scalar, to ask what there is."""
    kind = kind_of_node_type(dst.node_type)
    if nodes is None:
        return f"L{layer}{'N' if kind is None else kind.symbol}0"
    layer, several = next(iter(nodes.items()))
    return f"L{layer}{'N' if kind is None else kind.symbol}{several[0]}"


def name_beside(component: Component, layer: int, index: int) -> NodeName:
    """The name of another component of the same kind."""
    return NodeName(component.kind, layer, index, autoencoder=component.name.autoencoder)
