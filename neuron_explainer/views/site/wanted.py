"""Which components a site is of, and what its pages depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
from neuron_explainer.activations.dataset_types import numbered_entries
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind, kind_of_node_type
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName
from neuron_explainer.activations.derived_scalars.names.records import record_asked
from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.activations.packed.layout import INFO_FILE_NAME, TOKENS_FILE_NAME, layer_file_name
from neuron_explainer.components.component import Component
from neuron_explainer.components.explanations.sharing import own_explanations
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.storage.locations import is_url
from neuron_explainer.views.site.plan import SitePlan
from neuron_explainer.vocabulary.checks import LayersGiven, check_covered, checked_layers
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

_NUMBERS_OF_TENSOR = 1_000

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


def plan_of(component: Component, layers: LayersGiven, nodes: dict[int, list[int]] | None) -> SitePlan:
    """The components of a site.

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
    covered = _covered(component, None if nodes is None else list(nodes))
    if covered is None:
        if nodes is None:
            raise InvalidRequestError(
                "The dataset is at an address, which lists no components. Name them: nodes=['L5N131', …]."
            )
        return SitePlan(component.kind, nodes)
    subject = "The dataset" if component.at_hand.dataset else "The model"
    for layer in [*(asked or ()), *(nodes or ())]:
        check_covered("layer", layer, covered, subject)
    if nodes is None:
        chosen = sorted(covered if asked is None else asked)
        return SitePlan(component.kind, {layer: covered[layer] for layer in chosen if covered[layer]})
    for layer, several in nodes.items():
        for index in several:
            check_covered(component.kind.value, index, covered[layer], f"{subject}'s layer {layer}")
    return SitePlan(component.kind, nodes)


def _covered(component: Component, layers: list[int] | None) -> dict[int, Sequence[int]] | None:
    """The components that there are, by layer; None if that is not known."""
    if component.at_hand.dataset is None:
        context = component.model("site")
        if component.kind is NodeKind.LATENT:
            several = component.autoencoders_of_latents("site")
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


def digest_of_dataset(component: Component, plan: SitePlan) -> str | None:
    """A digest of the records that a site shows; None without a dataset, or of one at an address."""
    if component.at_hand.dataset is None:
        return None
    path = resolve_neuron_dataset(component.at_hand.dataset, component.dst)
    if is_url(path):
        return None
    folder, digest = Path(path), hashlib.sha256()
    if is_packed_dataset(path):
        for name in (INFO_FILE_NAME, TOKENS_FILE_NAME, *(layer_file_name(layer) for layer in plan.layers)):
            if (folder / name).is_file():
                with open(folder / name, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
    _add_files(digest, folder, plan, ".json")
    return digest.hexdigest()


def digest_of_explanations(component: Component, plan: SitePlan) -> str:
    """A digest of the explanations that a site shows: one's own, and published ones that are in a folder."""
    own = own_explanations()
    mine = own[(own["dst"] == component.dst.value) & (own["subject"] == component.subject)] if len(own) else own
    digest = hashlib.sha256(mine.to_csv(index=False).encode())
    published = component.at_hand.explanations
    if published is not None:
        digest.update(published.encode())
        if not is_url(published):
            _add_files(digest, Path(published), plan, ".jsonl")
    return digest.hexdigest()


def _add_files(digest: Any, folder: Path, plan: SitePlan, suffix: str) -> None:
    """Files of one component each are many and large; their sizes and times tell enough."""
    for layer, several in plan.layers.items():
        for index in several:
            file = folder / str(layer) / f"{index}{suffix}"
            if file.is_file():
                status = file.stat()
                digest.update(f"{layer} {index} {status.st_size} {status.st_mtime_ns}\n".encode())


def digest_of_model(component: Component) -> str | None:
    """A digest that tells a site's model from another; None without a model."""
    if not component.at_hand.has_model:
        return None
    config = component.at_hand.config("site")
    model = component.transformer("site")
    digest = hashlib.sha256(model.unembedding_weight[:64].detach().float().cpu().numpy().tobytes())
    _add_tensors(digest, model.state_dict())
    autoencoders = ""
    if component.kind is NodeKind.LATENT:
        several = component.autoencoders_of_latents("site")
        autoencoders = f"{several.dst.value} {list(several.layer_indices)}"
        for layer in several.layer_indices:
            fields = vars(several.get_autoencoder(layer))
            _add_tensors(digest, {name: value for name, value in fields.items() if isinstance(value, Tensor)})
    said = json.dumps([config.get_model_context().model_name, str(model.config), autoencoders])
    digest.update(said.encode())
    return digest.hexdigest()


def _add_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    """Tensors by their names, shapes and a thousand numbers of each, which tell other weights."""
    for name, tensor in tensors.items():
        flat = tensor.detach().reshape(-1)
        if flat.is_meta:  # it stays on the disk
            continue
        some = flat[:: max(1, flat.numel() // _NUMBERS_OF_TENSOR)]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(some.to("cpu", torch.float64).numpy().tobytes())


def name_beside(component: Component, layer: int, index: int) -> NodeName:
    """The name of another component of the same kind."""
    return NodeName(component.kind, layer, index, autoencoder=component.name.autoencoder)
