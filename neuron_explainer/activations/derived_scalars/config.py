"""The configuration of derived scalars: the model, the autoencoders, and where a backward pass starts."""

import threading
from dataclasses import dataclass
from typing import Any

import torch

from neuron_explainer.activations.derived_scalars.index_fields import checked_bool
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex, NodeIndex, TraceConfig
from neuron_explainer.errors import MisconfiguredError, shown
from neuron_explainer.models.autoencoder_context import (
    AutoencoderConfig,
    AutoencoderContext,
    MultiAutoencoderContext,
)
from neuron_explainer.models.devices import as_device
from neuron_explainer.models.inference_engine_type_registry import InferenceEngineType
from neuron_explainer.models.model_context import ModelContext, StandardModelContext, get_default_device
from neuron_explainer.models.model_registry import check_model_name
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_layer, checked_layers, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_arguments import named_arguments
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

_TYPE_OF_FIELD: dict[str, type] = {
    "model_name": str,
    "model_context": ModelContext,
    "autoencoder_config": AutoencoderConfig,
    "autoencoder_context": AutoencoderContext,
    "multi_autoencoder_context": MultiAutoencoderContext,
    "trace_config": TraceConfig,
    "node_index_for_attention_write": NodeIndex,
    "activation_index_for_fake_grad": ActivationIndex,
    "node_index_for_attribution": NodeIndex,
}

_MAKING = threading.RLock()  # several threads may derive with one config; a lock of its own could not be pickled


def _name_of_value(value: object) -> str | None:
    """The field of DstConfig that a value given without a name must be."""
    if isinstance(value, Transformer):  # it is inside of the context that the field takes
        return "model_context"
    return next((field for field, kind in _TYPE_OF_FIELD.items() if isinstance(value, kind)), None)


@named_arguments(_name_of_value, formerly_in_order=True)
@dataclass(frozen=True, kw_only=True)
class DstConfig:
    """The model, and everything else that a derived scalar requires. Raw activations require only a model.

    Attributes:
        derive_gradients: derive the gradient of each raw activation too, as PassType.BACKWARD.
        model_name: a registered model, loaded when it is first needed. If `model_context` is given too, it must be that
            model's name.
        inference_engine_type: the engine that runs the model of `model_name`.
        layer_indices: derive only for these layers, or this one; None for all.
        autoencoder_config: autoencoders to load when they are first needed. If `autoencoder_context` is given too, it
            must be their config.
        model_context: a model; takes precedence over `model_name`.
        autoencoder_context: autoencoders; take precedence over `multi_autoencoder_context` and `autoencoder_config`.
        multi_autoencoder_context: autoencoders of several places; take precedence over `autoencoder_config`.
        trace_config: where the backward pass starts, if not at a loss of the logits.
        node_index_for_attention_write: an attention head in a layer. It is checked, but no derived scalar uses it.
        device_for_raw_activations: the device, if there is neither a model nor an autoencoder.
        activation_index_for_fake_grad: the neuron or latent of VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION.
        node_index_for_attribution: the node whose edges the edge attributions are about.
        detach_layer_norm_scale_for_attribution: hold the LayerNorm scale just before the downstream node constant.

    Raises:
        UnknownNameError: no model has the name `model_name`, and it is neither a path nor a hub id.
        MisconfiguredError: a field has the wrong type, or fields contradict each other: names or configs that are not
            those of the contexts, devices that differ, a trace without a layer or from a gradient, autoencoders of
            another model.

    >>> import neuron_explainer as ne
    >>> config = ne.DstConfig(model_context=ne.load_model("tiny"), layer_indices=[2])
    """

    derive_gradients: bool = False
    model_name: str | None = None
    inference_engine_type: InferenceEngineType = InferenceEngineType.STANDARD
    layer_indices: list[int] | None = None
    autoencoder_config: AutoencoderConfig | None = None
    model_context: ModelContext | None = None
    autoencoder_context: AutoencoderContext | None = None
    multi_autoencoder_context: MultiAutoencoderContext | None = None
    trace_config: TraceConfig | None = None
    node_index_for_attention_write: NodeIndex | None = None
    device_for_raw_activations: torch.device | None = None
    activation_index_for_fake_grad: ActivationIndex | None = None
    node_index_for_attribution: NodeIndex | None = None
    detach_layer_norm_scale_for_attribution: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        self._check_names()
        self._check_devices()
        self._check_layer_indices()
        self._check_indices()
        if self.model_context is not None:
            for autoencoder_context in self._given_autoencoder_contexts():
                autoencoder_context.check_model(self.model_context)

    def __getstate__(self) -> dict[str, Any]:
        """What was given; what was made from it is made again where it is needed."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_made")}

    def _check_types(self) -> None:
        if isinstance(self.model_context, str | Transformer):
            by_name = f"model_name={shown(self.model_context)}, or " if isinstance(self.model_context, str) else ""
            raise MisconfiguredError(
                f"model_context is of type {type(self.model_context).__name__}. Give {by_name}model_context=model, the "
                "model as ne.load_model returns it."
            )
        checked_bool(self, "derive_gradients", MisconfiguredError)
        checked_bool(self, "detach_layer_norm_scale_for_attribution", MisconfiguredError)
        engine = member_of(InferenceEngineType, self.inference_engine_type, "inference engine type")
        object.__setattr__(self, "inference_engine_type", engine)
        for field, kind in _TYPE_OF_FIELD.items():
            value = getattr(self, field)
            if value is not None:
                checked_type(field, value, kind, MisconfiguredError)

    def _check_names(self) -> None:
        if self.model_name is not None and self.model_context is None:
            check_model_name(self.model_name)
        if self.model_context is not None and self.model_name not in (None, self.model_context.model_name):
            raise MisconfiguredError(
                f"model_name is {self.model_name!r}, but model_context is {self.model_context.model_name!r}. Give one."
            )
        given = self.autoencoder_config
        if self.autoencoder_context is not None and given not in (None, self.autoencoder_context.autoencoder_config):
            raise MisconfiguredError(
                f"autoencoder_config is not the config of autoencoder_context: {given} is not "
                f"{self.autoencoder_context.autoencoder_config}. Give one of them."
            )

    def _check_devices(self) -> None:
        devices: dict[str, torch.device] = {}
        if self.model_context is not None:
            devices["model_context"] = as_device(self.model_context.device)
        if self.autoencoder_context is not None:
            devices["autoencoder_context"] = as_device(self.autoencoder_context.device)
        if self.multi_autoencoder_context is not None:
            for node_type, context in self.multi_autoencoder_context.autoencoder_context_by_node_type.items():
                devices[f"multi_autoencoder_context ({NodeType(node_type).value})"] = as_device(context.device)
        if self.device_for_raw_activations is not None:
            devices["device_for_raw_activations"] = as_device(self.device_for_raw_activations)
        if len(set(devices.values())) > 1:
            listed = ", ".join(f"{field}: {device}" for field, device in devices.items())
            raise MisconfiguredError(f"Everything must be on one device, but the devices differ: {listed}.")

    def _check_layer_indices(self) -> None:
        if self.layer_indices is None:
            return
        layers = list(checked_layers("layer_indices", self.layer_indices, MisconfiguredError))
        if self.model_context is not None:  # otherwise the number of layers is not known yet
            for layer in layers:
                checked_layer(layer, self.model_context.n_layers, "layer_indices: the model", MisconfiguredError)
        object.__setattr__(self, "layer_indices", layers)

    def _check_indices(self) -> None:
        head = self.node_index_for_attention_write
        if head is not None and (head.node_type is not NodeType.ATTENTION_HEAD or head.layer_index is None):
            raise MisconfiguredError(
                f"node_index_for_attention_write must be an attention head in a layer, not {head}."
            )
        trace = self.trace_config
        while trace is not None:
            if trace.node_type is not NodeType.VOCAB_TOKEN and trace.layer_index is None:
                raise MisconfiguredError(f"trace_config needs the layer of its {trace.node_type.value}: {trace}.")
            if trace.pass_type is not PassType.FORWARD:
                raise MisconfiguredError(f"trace_config must start at an activation, not at a gradient: {trace}.")
            trace = trace.downstream_trace_config

    def _given_autoencoder_contexts(self) -> list[AutoencoderContext]:
        if self.autoencoder_context is not None:
            return [self.autoencoder_context]
        if self.multi_autoencoder_context is not None:
            return list(self.multi_autoencoder_context.autoencoder_context_by_node_type.values())
        return []

    @property
    def autoencoder_kinds(self) -> tuple[NodeType, ...]:
        """A node type for each of the autoencoder contexts given; AUTOENCODER_LATENT stands for the only one."""
        if self.autoencoder_context is None and self.multi_autoencoder_context is not None:
            return tuple(map(NodeType, self.multi_autoencoder_context.autoencoder_context_by_node_type))
        is_given = self.autoencoder_context is not None or self.autoencoder_config is not None
        return (NodeType.AUTOENCODER_LATENT,) if is_given else ()

    def get_device(self) -> torch.device:
        """The device of the model; else of the autoencoders; else `device_for_raw_activations`; else the default."""
        if self.model_context is not None:
            return as_device(self.model_context.device)
        for autoencoder_context in self._given_autoencoder_contexts():
            return autoencoder_context.device
        if self.device_for_raw_activations is not None:
            return as_device(self.device_for_raw_activations)
        return get_default_device()

    def get_model_context(self) -> ModelContext:
        """The model: `model_context`, or the model of `model_name`, loaded once for this config.

        Raises:
            MisconfiguredError: neither is given, or the autoencoders are of another model.
        """
        if self.model_context is not None:
            return self.model_context
        if self.model_name is None:
            raise MisconfiguredError("This needs a model. Give DstConfig a model_context or a model_name.")
        with _MAKING:
            made: ModelContext | None = self.__dict__.get("_made_model_context")
            if made is None:
                made = ModelContext.from_model_type(
                    self.model_name, device=self.get_device(), inference_engine_type=self.inference_engine_type
                )
                for autoencoder_context in self._given_autoencoder_contexts():
                    autoencoder_context.check_model(made)
                object.__setattr__(self, "_made_model_context", made)
            return made

    def get_autoencoder_context(self, node_type: NodeType | str | None = None) -> AutoencoderContext | None:
        """The autoencoders, or None if the config has none.

        A context made from `autoencoder_config` is made once for this config.

        Args:
            node_type: the kind of their latents; None or AUTOENCODER_LATENT for the only autoencoders given.

        Raises:
            MisconfiguredError: the autoencoders are of another kind, or several are given and none is of this kind.
        """
        node_type = None if node_type is None else member_of(NodeType, node_type, "node type")
        context = self.autoencoder_context
        if context is None and self.multi_autoencoder_context is not None:
            context = self.multi_autoencoder_context.get_autoencoder_context(node_type)
            if context is None:
                kinds = [
                    NodeType(kind).value for kind in self.multi_autoencoder_context.autoencoder_context_by_node_type
                ]
                raise MisconfiguredError(
                    f"Several autoencoders are given. Choose one kind of latent ({', '.join(kinds)}), not {node_type}."
                )
        if context is None and self.autoencoder_config is not None:
            context = self._made_autoencoders(self.autoencoder_config)
        if context is None:
            return None
        if node_type not in (None, NodeType.AUTOENCODER_LATENT, context.autoencoder_node_type):
            raise MisconfiguredError(
                f"The autoencoders' latents are of type {context.autoencoder_node_type.value} ({context!r}), but "
                f"{node_type} was asked for."
            )
        return context

    def _made_autoencoders(self, config: AutoencoderConfig) -> AutoencoderContext:
        with _MAKING:
            made: AutoencoderContext | None = self.__dict__.get("_made_autoencoder_context")
            if made is None:
                made = AutoencoderContext(config, device=self.get_device())
                if self.model_context is not None:
                    made.check_model(self.model_context)
                object.__setattr__(self, "_made_autoencoder_context", made)
            return made

    def requires_grad_for_type(self, dst: DerivedScalarType | str) -> bool:
        """Whether deriving `dst` with this config needs the model's backward pass.

        Raises:
            UnknownNameError: the type does not exist.
        """
        pass_types = [PassType.FORWARD, PassType.BACKWARD] if self.derive_gradients else [PassType.FORWARD]
        return any(derived_scalar_type_of(dst).requires_grad_for_pass_type(pass_type) for pass_type in pass_types)

    def get_n_layers(self) -> int:
        """How many layers the model has.

        Raises:
            MisconfiguredError: the config has no model.
        """
        return self.get_model_context().n_layers

    def get_autoencoder_dst(self, node_type: NodeType | str | None = None) -> DerivedScalarType | None:
        """The activation that the autoencoders were trained on; None if the config has no autoencoders."""
        autoencoder_context = self.get_autoencoder_context(node_type)
        return None if autoencoder_context is None else autoencoder_context.dst

    def get_or_create_model(self) -> Transformer:
        """The transformer that runs.

        Raises:
            MisconfiguredError: the config has no model, or its model is not run by this library.
        """
        model_context = self.get_model_context()
        if not isinstance(model_context, StandardModelContext):
            raise MisconfiguredError(
                f"Deriving needs a StandardModelContext, but {model_context.model_name} is of type "
                f"{type(model_context).__name__}. Use a model from ne.load_model."
            )
        return model_context.get_or_create_model()


ConfigOrModel = DstConfig | ModelContext
"""A configuration; or a model, which stands for `DstConfig(model_context=model)`."""


def as_config(config: ConfigOrModel, name: str = "config") -> DstConfig:
    """A configuration as it is; a model as the configuration that it stands for.

    Args:
        config: either.
        name: what an error calls the argument.

    Raises:
        MisconfiguredError: it is neither.
    """
    if isinstance(config, ModelContext):
        return DstConfig(model_context=config)
    if not isinstance(config, DstConfig):
        if isinstance(config, Transformer):
            raise MisconfiguredError(f"{name} is the Transformer inside of a model. Give what ne.load_model returns.")
        advice = f" To load it: ne.load_model({shown(config)})." if isinstance(config, str) else ""
        raise MisconfiguredError(
            f"{name} must be a model, as ne.load_model returns it, or a DstConfig, not {type(config).__name__}.{advice}"
        )
    return config
