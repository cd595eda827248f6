"""What is patched: one tensor of each layer, and which of its axes are positions and components."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import online_autoencoder, place_in_pass
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex
from neuron_explainer.activations.derived_scalars.names.kinds import COMPONENTS, NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.errors import MisconfiguredError, MissingSettingError, UnknownNameError
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
AtGiven = ActivationLocationType | str

SHORT_NAMES: Mapping[str, ActivationLocationType | None] = {
    "resid": None,
    "attn": _PLACE.RESID_DELTA_ATTN,
    "mlp": _PLACE.RESID_DELTA_MLP,
    "heads": _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES,
    "q": _PLACE.ATTN_QUERY,
    "k": _PLACE.ATTN_KEY,
    "v": _PLACE.ATTN_VALUE,
    "pattern": _PLACE.ATTN_QK_PROBS,
    "neurons": _PLACE.MLP_POST_ACT,
    "latents": None,
}
"""The place of each short name; None of those that depend on the layer or on the autoencoders."""

_COMPONENTS = {
    Dimension.ATTN_HEADS: "head",
    Dimension.MLP_ACTS: "neuron",
    Dimension.AUTOENCODER_LATENTS: "latent",
}
_RESIDUAL = (_PLACE.RESID_POST_EMBEDDING, _PLACE.RESID_POST_MLP)


@dataclass(frozen=True)
class PatchedNode:
    """What one patch writes: a layer's tensor, at one position or all, of one component or all (None)."""

    layer: int | None
    position: int | None
    component: int | None


@dataclass(frozen=True, eq=False)
class Site:
    """The tensors that are patched.

    Attributes:
        asked: what was asked for: a short name, or the value of a place.
        place: their place; None of "resid", which is another place in layer 0.
        keys: each tensor's place and layer, by the layer that its nodes are named by; None for a place without layers.
        bound: the model with its autoencoders.
        autoencoder: the kind of the autoencoders that run within the pass, for their latents and errors; else None.
    """

    asked: str
    place: ActivationLocationType | None
    keys: Mapping[int | None, PlaceAndLayer]
    bound: BoundConfig
    autoencoder: NodeType | None = None

    @property
    def has_layers(self) -> bool:
        """Whether there is a tensor in each layer, and not one of the model."""
        return None not in self.keys

    @property
    def _component(self) -> tuple[int, Dimension] | None:
        """The axis of components and its meaning; None if the tensor is one vector for each position."""
        if self.place is None or self.place.is_autoencoder_error:
            return None
        found = [(axis, each) for axis, each in enumerate(self.place.shape) if each in _COMPONENTS]
        return found[0] if found else None

    @property
    def component_axis(self) -> int | None:
        """Which axis of one prompt's tensor is that of components; the first, 0, is that of positions."""
        return None if self._component is None else self._component[0]

    @property
    def component(self) -> str | None:
        """What a component is called: "head", "neuron" or "latent"; None if there is none."""
        return None if self._component is None else _COMPONENTS[self._component[1]]

    def n_components(self, layer: int | None) -> int:
        """How many components a layer's tensor has."""
        if self._component is None:
            return 1
        if self.autoencoder is not None:
            return self.bound.autoencoder(self.autoencoder, layer).n_latents
        return self.bound.model.config.size_of(self._component[1]) or 1

    def where(self, node: PatchedNode) -> tuple[Any, ...]:
        """The index of a node's numbers in one prompt's tensor."""
        index: list[Any] = [slice(None) if node.position is None else node.position]
        if node.component is not None and self.component_axis is not None:
            index += [slice(None)] * (self.component_axis - 1) + [node.component]
        return tuple(index)

    def is_read_by_a_layer(self, layer: int | None) -> bool:
        """Whether the tensor is the residual stream between two layers, so that a pass can begin with it."""
        return self.keys[layer][0] in _RESIDUAL

    def layer_after(self, layer: int | None) -> int:
        """The layer that reads the tensor, where it is the residual stream between two layers."""
        own = self.keys[layer][1]
        return 0 if own is None else own + 1

    def hooks(self, layers: Iterable[int | None]) -> list[Intervention]:
        """The autoencoders that must run within a pass, for the places of these layers to exist."""
        if self.autoencoder is None:
            return []
        return [
            hook
            for layer in layers
            if layer is not None
            for hook in online_autoencoder(self.bound, self.autoencoder, layer)
        ]

    def first_layer(self, layer: int | None) -> int | None:
        """From which layer a pass must run to reach the tensor as a place; None: from the tokens on."""
        touched = {key for hook in self.hooks([layer]) for key in hook.places} or {self.keys[layer]}
        if (_PLACE.RESID_POST_EMBEDDING, None) in touched:
            return None
        n_layers = self.bound.model.config.n_layers
        return min(n_layers if own is None else own for _, own in touched)

    def name(self, node: PatchedNode) -> NodeName:
        """The node's name, as everywhere: L3H2@5."""
        name = replace(_whole_name(self.place, node.layer), token=node.position)
        if node.component is not None:
            return replace(name, component=node.component)
        return replace(name, component="All") if name.kind in COMPONENTS else name


@cache
def _whole_name(place: ActivationLocationType | None, layer: int | None) -> NodeName:
    """The name of a layer's tensor at all positions; of components, that of the first."""
    if place is None:
        return NodeName(NodeKind.START, layer)
    first: list[int | Literal["All"]] = [0 if each in _COMPONENTS else "All" for each in place.shape]
    return NodeName.of(ActivationIndex(place, layer, first))


def read_site(config: DstConfig, at: AtGiven) -> Site:
    """The tensors that a caller names.

    Args:
        config: the model, with the autoencoders if there are any.
        at: a short name, or a place.

    Raises:
        UnknownNameError: it is neither.
        MissingSettingError: it is of autoencoders, and none are given.
        MisconfiguredError: it is of autoencoders, and those given are of another kind, or of several.
    """
    model = config.get_or_create_model()
    layers = tuple(range(model.config.n_layers))
    bound = BoundConfig(config, model, layers)
    asked = at.strip().lower() if isinstance(at, str) and not isinstance(at, ActivationLocationType) else at
    if isinstance(asked, str) and asked == "resid":
        return Site("resid", None, {layer: model.blocks[layer].attention_reads_from for layer in layers}, bound)
    if isinstance(asked, str) and asked == "latents":
        return _of_autoencoders("latents", bound, _only_kind(bound), None)
    place = SHORT_NAMES.get(asked) if isinstance(asked, str) else None
    if place is None:
        try:
            place = member_of(ActivationLocationType, at, "place")
        except UnknownNameError:
            raise UnknownNameError("place", at, [*SHORT_NAMES, *(each.value for each in _PLACE)]) from None
    name = asked if asked in SHORT_NAMES else place.value
    if place.autoencoder_node_type is not None:
        return _of_autoencoders(name, bound, place.autoencoder_node_type, place)
    if place.has_no_layers:
        return Site(name, place, {None: (place, None)}, bound)
    return Site(name, place, {layer: (place, layer) for layer in layers}, bound)


def _of_autoencoders(name: str, bound: BoundConfig, kind: NodeType, place: ActivationLocationType | None) -> Site:
    context = bound.autoencoder_context(kind)
    asked = _PLACE.ONLINE_AUTOENCODER_LATENT if place is None else place
    if asked is _PLACE.ONLINE_AUTOENCODER_LATENT:
        kind = context.autoencoder_node_type
    found = place_in_pass(bound, asked)
    if place is not None and place.is_autoencoder_error and found is not place:
        raise MisconfiguredError(f"{place.value} is not a place of these autoencoders. Choose {found.value}.")
    return Site(name, found, {layer: (found, layer) for layer in context.layer_indices}, bound, kind)


def _only_kind(bound: BoundConfig) -> NodeType:
    kinds = bound.autoencoder_kinds
    if not kinds:
        raise MissingSettingError(
            "autoencoders", "patching latents", "Load them with ne.load_autoencoders, and pass autoencoders=…."
        )
    if len(kinds) > 1:
        places = (_PLACE.ONLINE_MLP_AUTOENCODER_LATENT, _PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT)
        raise MisconfiguredError(
            "Several autoencoders are given. Choose one of: "
            + ", ".join(f'at="{place.value}"' for place in places if place.autoencoder_node_type in kinds)
            + "; or give one kind alone."
        )
    return kinds[0]
