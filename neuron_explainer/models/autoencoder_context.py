"""The autoencoders that go with a model: where they are, and the autoencoders themselves, loaded when needed."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, SupportsIndex, TypeVar

import torch

from neuron_explainer.errors import (
    AutoencoderMismatchError,
    MisconfiguredError,
    choices_sentence,
    nearest_first,
    number_ranges,
    shown,
)
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.formats import autoencoder_format_of
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder
from neuron_explainer.models.autoencoders.origin import (
    NODE_TYPE_BY_DST,
    AutoencoderOrigin,
    ModelSizes,
    check_origin,
    same_base_model,
)
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.checks import checked_type, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

DEAD_AFTER_STEPS = 10_000_000 // 131_072
"""A latent is dead if it was not active for 10 million training tokens, at 131,072 tokens per step."""

PathLike = str | os.PathLike[str]
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, init=False)
class AutoencoderConfig:
    """Where the autoencoders of one place are.

    Example:
        AutoencoderConfig("mlp_post_act", {5: "autoencoders/5.pt"}, base_model_name="gpt2-small")

    Attributes:
        dst: the derived scalar type they were trained on (MLP_POST_ACT, RESID_DELTA_MLP, RESID_DELTA_ATTN, …).
        autoencoder_path_by_layer_index: for each layer that has one, its path or address.
        base_model_name: the model they were trained on; other models are refused. None if unknown: then what a SAELens
            folder says counts.
        name: the name of this set of autoencoders.
        input_scaling: how each token's input was scaled in training; None means what the files say.
    """

    dst: DerivedScalarType
    autoencoder_path_by_layer_index: Mapping[int, PathLike]
    base_model_name: str | None
    name: str | None
    input_scaling: InputScaling | None

    def __init__(
        self,
        dst: DerivedScalarType | str,
        autoencoder_path_by_layer_index: Mapping[int, PathLike] | None = None,
        base_model_name: str | None = None,
        name: str | None = None,
        input_scaling: InputScaling | str | None = None,
    ) -> None:
        """Check the parts and keep them; `dst` may be a name or value, such as "mlp_post_act".

        Raises:
            UnknownNameError: `dst` is not a derived scalar type, or `input_scaling` is not the name of a scaling.
            AutoencoderMismatchError: autoencoders of `dst` are not supported.
            MisconfiguredError: a key is not a layer, a value is not a path or address, or a name is not a text.
        """
        known_dst = derived_scalar_type_of(dst)
        if known_dst not in NODE_TYPE_BY_DST:
            choices = nearest_first(known_dst.name, [supported.name for supported in NODE_TYPE_BY_DST])
            raise AutoencoderMismatchError(
                f"Autoencoders of {known_dst.name} are not supported. {choices_sentence(choices)}"
            )
        paths = _by_layer("autoencoder_path_by_layer_index", autoencoder_path_by_layer_index or {}, (str, os.PathLike))
        for option, text in (("base_model_name", base_model_name), ("name", name)):
            if text is not None:
                checked_type(option, text, str, MisconfiguredError)
        object.__setattr__(self, "dst", known_dst)
        object.__setattr__(self, "autoencoder_path_by_layer_index", paths)
        object.__setattr__(self, "base_model_name", base_model_name)
        object.__setattr__(self, "name", name)
        scaling = None if input_scaling is None else member_of(InputScaling, input_scaling, "input scaling")
        object.__setattr__(self, "input_scaling", scaling)

    def __hash__(self) -> int:
        paths = tuple((layer, os.fspath(path)) for layer, path in self.autoencoder_path_by_layer_index.items())
        return hash((self.dst, paths, self.base_model_name, self.name, self.input_scaling))


def _by_layer(name: str, given: Mapping[int, ValueT], kinds: tuple[type, ...]) -> dict[int, ValueT]:
    """A mapping from layers with plain ints as keys, ascending.

    Raises:
        MisconfiguredError: it is not a mapping, a key is not a layer, or a value is not of one of the types.
    """
    if not isinstance(given, Mapping):
        raise MisconfiguredError(f"{name} is {shown(given)}. Give a mapping from layers.")
    by_layer: dict[int, ValueT] = {}
    for layer_index, value in given.items():
        number = whole_number(layer_index)
        if number is None or number < 0:
            raise MisconfiguredError(f"{layer_index!r} is not a layer. Give autoencoders by whole numbers from 0.")
        if not isinstance(value, kinds):
            raise MisconfiguredError(
                f"{name} holds {shown(value)} for layer {number}. Give: {' or '.join(kind.__name__ for kind in kinds)}."
            )
        by_layer[number] = value
    return dict(sorted(by_layer.items()))


class AutoencoderContext:
    """The autoencoders of one place, each loaded once, when it is first needed, all on one device.

    Any number of threads may use one context: the first that needs an autoencoder loads it, and the others wait.

    Example:
        config = AutoencoderConfig("mlp_post_act", {5: "autoencoders/5.pt"})
        AutoencoderContext(config).get_autoencoder(5).n_latents

    Args:
        autoencoder_config: where they are, and what they were trained on.
        device: where they go; None means `get_default_device()`, as for models.
        omit_dead_latents: leave out latents that had been inactive for more than `dead_after` training steps.
        dead_after: that number of steps.
        dtype: the weights' floating-point dtype; None leaves it as it is in the file.

    Raises:
        MisconfiguredError: `autoencoder_config` is not an AutoencoderConfig.
        InvalidRequestError: `device` is not a device, or is not available here.
        UnknownNameError: models do not run in this dtype.
    """

    def __init__(
        self,
        autoencoder_config: AutoencoderConfig,
        device: DeviceGiven | None = None,
        omit_dead_latents: bool = False,
        dead_after: int = DEAD_AFTER_STEPS,
        dtype: DtypeGiven | None = None,
    ) -> None:
        self.autoencoder_config = checked_type(
            "autoencoder_config", autoencoder_config, AutoencoderConfig, MisconfiguredError
        )
        self.device = as_device(device)
        self.omit_dead_latents = omit_dead_latents
        self.dead_after = dead_after
        self.dtype = None if dtype is None else as_dtype(dtype)
        self._layer_indices = tuple(autoencoder_config.autoencoder_path_by_layer_index)
        self._autoencoder_by_layer_index: dict[int, Autoencoder] = {}
        self._origin_by_layer_index: dict[int, AutoencoderOrigin] = {}
        self._loading = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_loading"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _loading=Lock())

    @classmethod
    def from_autoencoders(
        cls,
        dst: DerivedScalarType | str,
        autoencoder_by_layer_index: Mapping[int, Autoencoder],
        device: DeviceGiven | None = None,
        base_model_name: str | None = None,
        name: str | None = None,
    ) -> "AutoencoderContext":
        """A context of autoencoders that are in memory already; they stay on their device unless one is given.

        Raises:
            MisconfiguredError: no autoencoder was given, a key is not a layer, or they are on several devices and
                `device` is None.
        """
        by_layer = _by_layer("autoencoder_by_layer_index", autoencoder_by_layer_index, (Autoencoder,))
        devices = {autoencoder.device for autoencoder in by_layer.values()}
        if not devices or (device is None and len(devices) > 1):
            raise MisconfiguredError(
                "A context needs at least one autoencoder, and all on one device; these are on "
                f"{sorted(map(str, devices))}. Pass `device=`."
            )
        context = cls(AutoencoderConfig(dst, {}, base_model_name, name), devices.pop() if device is None else device)
        context._layer_indices = tuple(by_layer)
        context._autoencoder_by_layer_index = {
            layer_index: autoencoder.to(context.device) for layer_index, autoencoder in by_layer.items()
        }
        return context

    @property
    def dst(self) -> DerivedScalarType:
        """The derived scalar type that the autoencoders were trained on."""
        return self.autoencoder_config.dst

    @property
    def autoencoder_node_type(self) -> NodeType:
        """The node type of their latents: of an MLP, of attention, or of the residual stream."""
        return NODE_TYPE_BY_DST[self.dst]

    @property
    def layer_indices(self) -> tuple[int, ...]:
        """The layers that have an autoencoder, ascending."""
        return self._layer_indices

    @property
    def n_latents(self) -> int:
        """The number of latents in each layer's autoencoder. This loads all of them.

        Raises:
            MisconfiguredError: the layers differ; use `get_autoencoder(layer).n_latents`.
        """
        numbers = {layer_index: self.get_autoencoder(layer_index).n_latents for layer_index in self.layer_indices}
        if len(set(numbers.values())) != 1:
            raise MisconfiguredError(f"The layers have different numbers of latents: {numbers}.")
        return next(iter(numbers.values()))

    def get_autoencoder(self, layer_index: SupportsIndex) -> Autoencoder:
        """The autoencoder of a layer, loaded if necessary.

        Raises:
            AutoencoderMismatchError: the layer has no autoencoder, or the file is of another place or layer.
            AutoencoderFormatError: the file is not a valid autoencoder.
        """
        number = whole_number(layer_index)
        if number is None or number not in self.layer_indices:
            raise AutoencoderMismatchError(
                f"{self.dst} has no autoencoder for layer {layer_index!r}. Layers: {number_ranges(self.layer_indices)}."
            )
        found = self._autoencoder_by_layer_index.get(number)
        if found is not None:
            return found
        with self._loading:
            found = self._autoencoder_by_layer_index.get(number)
            if found is None:
                # Weights loaded within inference mode could not take part in a backward pass later.
                with torch.inference_mode(False):
                    found = self._load(number)
                self._autoencoder_by_layer_index[number] = found
        return found

    def _load(self, layer_index: int) -> Autoencoder:
        config = self.autoencoder_config
        path = config.autoencoder_path_by_layer_index[layer_index]
        autoencoder, origin = load_autoencoder(
            path, device=self.device, dtype=self.dtype, input_scaling=config.input_scaling
        )
        check_origin(origin, self.dst, layer_index, without_secrets(path))
        self._origin_by_layer_index[layer_index] = origin
        return autoencoder.without_dead_latents(self.dead_after) if self.omit_dead_latents else autoencoder

    def check_model(self, model_context: ModelSizes) -> None:
        """Check that the autoencoders can belong to this model, without loading any.

        If a file describes itself (as SAELens folders do), its base model, place, layer and width are checked, whether
        its autoencoder has been loaded or not.

        Raises:
            AutoencoderMismatchError: they belong to another base model, to layers that this model does not have, or to
                activations of another width.
        """
        self._check_base_model(self.autoencoder_config.base_model_name, model_context)
        beyond = [layer_index for layer_index in self.layer_indices if layer_index >= model_context.n_layers]
        if beyond:
            raise AutoencoderMismatchError(
                f"The autoencoders are of the layers {beyond}, but {model_context.model_name} has "
                f"{model_context.n_layers} layers."
            )
        widths = {layer: loaded.n_outputs for layer, loaded in self._autoencoder_by_layer_index.items()}
        for layer_index, path in self.autoencoder_config.autoencoder_path_by_layer_index.items():
            origin = self._origin(layer_index, os.fspath(path))
            check_origin(origin, self.dst, layer_index, without_secrets(path))
            if self.autoencoder_config.base_model_name is None:
                self._check_base_model(origin.base_model_name, model_context)
            width = origin.n_inputs if origin.n_outputs is None else origin.n_outputs
            if width is not None:
                widths.setdefault(layer_index, width)
        needed = self._width_in(model_context)
        for layer_index, width in widths.items():
            if width != needed:
                raise AutoencoderMismatchError(
                    f"The autoencoder of layer {layer_index} reads (a transcoder: predicts) {width} numbers per "
                    f"token, but {self.dst} of {model_context.model_name} has {needed}."
                )

    def _origin(self, layer_index: int, source: str) -> AutoencoderOrigin:
        """What the file of a layer's autoencoder says: as it was loaded, or else as it says now."""
        loaded = self._origin_by_layer_index.get(layer_index)
        return autoencoder_format_of(source).describe(source) if loaded is None else loaded

    def _check_base_model(self, base: str | None, model_context: ModelSizes) -> None:
        if base is not None and not same_base_model(base, model_context.model_name):
            raise AutoencoderMismatchError(
                f"These autoencoders were trained on {base}, but the model is {model_context.model_name}. If that is "
                "the same model under another name, pass that name as base_model_name."
            )

    def _width_in(self, model_context: ModelSizes) -> int:
        axes_of_one_token = self.dst.shape_spec_per_token_sequence[1:]
        return math.prod(model_context.get_dim_size(dimension) for dimension in axes_of_one_token)

    def __repr__(self) -> str:
        name = self.autoencoder_config.name or "AutoencoderContext"
        return f"<{name}: {self.dst.value}, layers {list(self.layer_indices)}, {self.device}>"


@dataclass(frozen=True)
class MultiAutoencoderContext:
    """Several autoencoder contexts, by the node type of their latents.

    Example:
        MultiAutoencoderContext.from_context_list([of_mlp, of_attention])

    Raises:
        MisconfiguredError: no context was given, one is not an AutoencoderContext, or one is given under another node
            type than its own.
        UnknownNameError: a key is not a node type.
    """

    autoencoder_context_by_node_type: Mapping[NodeType, AutoencoderContext]

    def __post_init__(self) -> None:
        given = self.autoencoder_context_by_node_type
        if not isinstance(given, Mapping):
            raise MisconfiguredError(
                f"{shown(given)} is not a mapping from node types. Use from_context_list for a list of contexts."
            )
        if not given:
            raise MisconfiguredError("A MultiAutoencoderContext needs at least one AutoencoderContext.")
        by_member: dict[NodeType, AutoencoderContext] = {}
        for node_type, context in given.items():
            checked_type(f"The context given for {node_type}", context, AutoencoderContext, MisconfiguredError)
            member = member_of(NodeType, node_type, "node type")
            if context.autoencoder_node_type is not member:
                raise MisconfiguredError(
                    f"The context given for {node_type} has latents of type {context.autoencoder_node_type} "
                    f"({context!r})."
                )
            by_member[member] = context
        object.__setattr__(self, "autoencoder_context_by_node_type", by_member)

    @classmethod
    def from_context_list(cls, autoencoder_contexts: Sequence[AutoencoderContext]) -> "MultiAutoencoderContext":
        """The contexts, each under the node type of its latents.

        Raises:
            MisconfiguredError: two contexts have the same node type, or one is not an AutoencoderContext.
        """
        if not isinstance(autoencoder_contexts, Sequence):
            raise MisconfiguredError(f"{shown(autoencoder_contexts)} is not a list of contexts.")
        for context in autoencoder_contexts:
            checked_type("each autoencoder context", context, AutoencoderContext, MisconfiguredError)
        by_node_type = {context.autoencoder_node_type: context for context in autoencoder_contexts}
        if len(by_node_type) != len(autoencoder_contexts):
            kinds = [context.autoencoder_node_type.value for context in autoencoder_contexts]
            raise MisconfiguredError(f"Each context must have a different node type; these have {kinds}.")
        return cls(by_node_type)

    def get_autoencoder_context(self, node_type: NodeType | str | None = None) -> AutoencoderContext | None:
        """The context with this node type of latents; None if there is no such context.

        If there is only one context, it is returned for None and for AUTOENCODER_LATENT too.

        Raises:
            UnknownNameError: `node_type` is not a node type.
        """
        node_type = None if node_type is None else member_of(NodeType, node_type, "node type")
        if node_type is not None and node_type in self.autoencoder_context_by_node_type:
            return self.autoencoder_context_by_node_type[node_type]
        if node_type in (None, NodeType.AUTOENCODER_LATENT) and len(self.autoencoder_context_by_node_type) == 1:
            return next(iter(self.autoencoder_context_by_node_type.values()))
        return None
