"""Which autoencoders go with a model: their place, where their files are, and the autoencoders themselves, lazily."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import torch

from neuron_explainer.errors import AutoencoderMismatchError, MisconfiguredError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.openai_files import load_autoencoder
from neuron_explainer.models.autoencoders.places import (
    DIMENSIONS_BY_PLACE,
    NODE_TYPE_BY_PLACE,
    ModelSizes,
    check_place,
    same_base_model,
)
from neuron_explainer.models.autoencoders.saelens import is_saelens_folder
from neuron_explainer.models.autoencoders.saelens_config import read_saelens_config
from neuron_explainer.models.devices import as_device
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
else:  # the vocabulary of derived scalars stands above this package, which needs only its members' names and values
    DerivedScalarType = StrEnum

DEAD_AFTER_STEPS = 10_000_000 // 131_072
"""A latent is dead if it was not active for 10 million training tokens, at 131,072 tokens a step."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Where autoencoders of one place are.

    Attributes:
        dst: the place they were trained on, as its derived scalar type (MLP_POST_ACT, RESID_DELTA_MLP,
            RESID_DELTA_ATTN, …).
        autoencoder_path_by_layer_index: for each layer that has one, the path or URL of its `.pt` file, or its SAELens
            folder.
        base_model_name: the model they were trained on, where it is known; then another model is refused. It has
            precedence over what a SAELens folder says.
        name: what people call them.

    Raises:
        AutoencoderMismatchError: autoencoders of `dst` are not supported.
        MisconfiguredError: a layer is no index.
    """

    dst: DerivedScalarType
    autoencoder_path_by_layer_index: Mapping[int, str | os.PathLike[str]] = field(default_factory=dict)
    base_model_name: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.dst, StrEnum) or self.dst.value not in NODE_TYPE_BY_PLACE:
            choices = ", ".join(place.upper() for place in NODE_TYPE_BY_PLACE)
            raise AutoencoderMismatchError(
                f"Autoencoders are of a place in the model; {self.dst!r} is none that is supported. Give one of "
                f"DerivedScalarType's {choices}."
            )
        for layer_index in self.autoencoder_path_by_layer_index:
            if not isinstance(layer_index, int) or layer_index < 0:
                raise MisconfiguredError(f"Autoencoders are given by layer index, and {layer_index!r} is none.")
        paths = dict(sorted(self.autoencoder_path_by_layer_index.items()))
        object.__setattr__(self, "autoencoder_path_by_layer_index", paths)

    def __hash__(self) -> int:
        paths = tuple((layer, os.fspath(path)) for layer, path in self.autoencoder_path_by_layer_index.items())
        return hash((self.dst, paths, self.base_model_name, self.name))


class AutoencoderContext:
    """The autoencoders of one place: each is loaded when it is first asked for, once, on one device.

    Args:
        autoencoder_config: their place and where they are.
        device: where they are to be; `get_default_device()` if not given, as for models.
        omit_dead_latents: leave out latents that had not been active for `dead_after` training steps.
        dead_after: that number of steps.
        dtype: the floating-point type of the weights; that of the file if not given.
    """

    def __init__(
        self,
        autoencoder_config: AutoencoderConfig,
        device: torch.device | str | None = None,
        omit_dead_latents: bool = False,
        dead_after: int = DEAD_AFTER_STEPS,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.autoencoder_config = autoencoder_config
        self.device = as_device(device)
        self.omit_dead_latents = omit_dead_latents
        self.dead_after = dead_after
        self.dtype = dtype
        self._layer_indices = tuple(autoencoder_config.autoencoder_path_by_layer_index)
        self._autoencoder_by_layer_index: dict[int, Autoencoder] = {}

    @classmethod
    def from_autoencoders(
        cls,
        dst: DerivedScalarType,
        autoencoder_by_layer_index: Mapping[int, Autoencoder],
        device: torch.device | str | None = None,
        base_model_name: str | None = None,
        name: str | None = None,
    ) -> "AutoencoderContext":
        """A context of autoencoders that are in memory already; on their own device unless another is given.

        Raises:
            MisconfiguredError: there are none, or they are on several devices and none is given.
        """
        devices = {autoencoder.device for autoencoder in autoencoder_by_layer_index.values()}
        if not devices or (device is None and len(devices) > 1):
            raise MisconfiguredError(
                "A context of autoencoders needs at least one, all on one device; these are on "
                f"{sorted(map(str, devices))}."
            )
        context = cls(AutoencoderConfig(dst, {}, base_model_name, name), devices.pop() if device is None else device)
        context._layer_indices = tuple(sorted(autoencoder_by_layer_index))
        context._autoencoder_by_layer_index = {
            layer_index: autoencoder.to(context.device)
            for layer_index, autoencoder in autoencoder_by_layer_index.items()
        }
        return context

    @property
    def dst(self) -> DerivedScalarType:
        """The place the autoencoders were trained on."""
        return self.autoencoder_config.dst

    @property
    def autoencoder_node_type(self) -> NodeType:
        """What kind of node their latents are: of an MLP, of attention, or of the residual stream."""
        return NODE_TYPE_BY_PLACE[self.dst.value]

    @property
    def layer_indices(self) -> tuple[int, ...]:
        """The layers that have an autoencoder, ascending."""
        return self._layer_indices

    @property
    def n_latents(self) -> int:
        """How many latents each layer's autoencoder has (this loads all of them if dead ones are omitted).

        Raises:
            MisconfiguredError: the layers differ; ask `get_autoencoder(layer).n_latents`.
        """
        layers = self.layer_indices if self.omit_dead_latents or self._are_loaded else self.layer_indices[:1]
        numbers = {layer_index: self.get_autoencoder(layer_index).n_latents for layer_index in layers}
        if len(set(numbers.values())) != 1:
            raise MisconfiguredError(f"The layers differ in their number of latents: {numbers}.")
        return next(iter(numbers.values()))

    @property
    def _are_loaded(self) -> bool:
        return len(self._autoencoder_by_layer_index) == len(self.layer_indices)

    def get_autoencoder(self, layer_index: int) -> Autoencoder:
        """The autoencoder of a layer, loaded if need be.

        Raises:
            AutoencoderMismatchError: there is none for the layer, or the file is of another place or layer.
            AutoencoderFormatError: the file is no autoencoder.
        """
        if layer_index not in self.layer_indices:
            raise AutoencoderMismatchError(
                f"There is no autoencoder of {self.dst.value} for layer {layer_index}; there is for the layers "
                f"{list(self.layer_indices)}."
            )
        if layer_index not in self._autoencoder_by_layer_index:
            self._autoencoder_by_layer_index[layer_index] = self._load(layer_index)
        return self._autoencoder_by_layer_index[layer_index]

    def _load(self, layer_index: int) -> Autoencoder:
        path = self.autoencoder_config.autoencoder_path_by_layer_index[layer_index]
        autoencoder, origin = load_autoencoder(path, self.device, self.dtype)
        check_place(origin, self.dst.value, layer_index, without_secrets(path))
        return autoencoder.without_dead_latents(self.dead_after) if self.omit_dead_latents else autoencoder

    def check_model(self, model_context: ModelSizes) -> None:
        """Check that the autoencoders can be of this model, without loading any that is not loaded yet.

        What SAELens' folders say of their base model, place, layer and width is read for it.

        Raises:
            AutoencoderMismatchError: they are of another base model, of layers that it does not have, or of a place
                that is of another width in it.
        """
        self._check_base_model(self.autoencoder_config.base_model_name, model_context)
        beyond = [layer_index for layer_index in self.layer_indices if layer_index >= model_context.n_layers]
        if beyond:
            raise AutoencoderMismatchError(
                f"There are autoencoders for the layers {beyond}, and {model_context.model_name} has "
                f"{model_context.n_layers} layers."
            )
        widths = {layer: autoencoder.n_inputs for layer, autoencoder in self._autoencoder_by_layer_index.items()}
        for layer_index, path in self.autoencoder_config.autoencoder_path_by_layer_index.items():
            if layer_index not in widths and not is_url(path) and is_saelens_folder(path):
                said = read_saelens_config(path)
                check_place(said.origin, self.dst.value, layer_index, without_secrets(path))
                if self.autoencoder_config.base_model_name is None:
                    self._check_base_model(said.origin.base_model_name, model_context)
                widths[layer_index] = said.n_inputs
        width = self._width_in(model_context)
        for layer_index, n_inputs in widths.items():
            if n_inputs != width:
                raise AutoencoderMismatchError(
                    f"The autoencoder of layer {layer_index} has {n_inputs} inputs, and {self.dst.value} of "
                    f"{model_context.model_name} has {width} numbers a token."
                )

    def _check_base_model(self, base: str | None, model_context: ModelSizes) -> None:
        if base is not None and not same_base_model(base, model_context.model_name):
            raise AutoencoderMismatchError(
                f"These autoencoders were trained on {base}, and the model is {model_context.model_name}. If that is "
                "the same model under another name, give that name as base_model_name."
            )

    def _width_in(self, model_context: ModelSizes) -> int:
        return math.prod(model_context.get_dim_size(dimension) for dimension in DIMENSIONS_BY_PLACE[self.dst.value])

    def __repr__(self) -> str:
        name = self.autoencoder_config.name or "AutoencoderContext"
        return f"<{name}: {self.dst.value}, layers {list(self.layer_indices)}, {self.device}>"


@dataclass(frozen=True)
class MultiAutoencoderContext:
    """Several autoencoder contexts, told apart by the kind of node their latents are.

    Raises:
        MisconfiguredError: there are none, or one stands under another kind than its own.
    """

    autoencoder_context_by_node_type: Mapping[NodeType, AutoencoderContext]

    def __post_init__(self) -> None:
        if not self.autoencoder_context_by_node_type:
            raise MisconfiguredError("A MultiAutoencoderContext needs at least one AutoencoderContext.")
        for node_type, context in self.autoencoder_context_by_node_type.items():
            if context.autoencoder_node_type is not NodeType(node_type):
                raise MisconfiguredError(
                    f"The context given for {node_type} is one of {context.autoencoder_node_type.value} ({context!r})."
                )

    @classmethod
    def from_context_list(cls, autoencoder_contexts: Sequence[AutoencoderContext]) -> "MultiAutoencoderContext":
        """The contexts, each under the kind of its latents.

        Raises:
            MisconfiguredError: two are of the same kind.
        """
        by_node_type = {context.autoencoder_node_type: context for context in autoencoder_contexts}
        if len(by_node_type) != len(autoencoder_contexts):
            kinds = [context.autoencoder_node_type.value for context in autoencoder_contexts]
            raise MisconfiguredError(f"Two autoencoder contexts are of the same kind of latent: {kinds}.")
        return cls(by_node_type)

    def get_autoencoder_context(self, node_type: NodeType | None = None) -> AutoencoderContext | None:
        """The context of one kind of latent, or None; without a kind, or for AUTOENCODER_LATENT, the only one if so."""
        if node_type is not None and node_type in self.autoencoder_context_by_node_type:
            return self.autoencoder_context_by_node_type[node_type]
        if node_type in (None, NodeType.AUTOENCODER_LATENT) and len(self.autoencoder_context_by_node_type) == 1:
            return next(iter(self.autoencoder_context_by_node_type.values()))
        return None
