"""The base class of families: how to read a config, and which tensor becomes which of our parameters."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor

from neuron_explainer.errors import MissingTensorError, UnsupportedCheckpointError, nearest_first, shown
from neuron_explainer.models.transformer_config import TransformerConfig


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def transposed(tensor: Tensor) -> Tensor:
    """The transpose of a matrix, as a view."""
    return tensor.T


@dataclass(frozen=True)
class TensorSource:
    """The checkpoint tensor of a parameter, and how the parameter is made from it.

    Attributes:
        name: the tensor's name in a Hugging Face checkpoint of the whole model (with the base model's prefix).
        convert: makes the parameter from the tensor: a view, so that weights can be shared with a model in memory.
    """

    name: str
    convert: Callable[[Tensor], Tensor] = unchanged


class Family(ABC):
    """An adapter for one `model_type`. Instances hold no state.

    Attributes:
        model_type: the name in Hugging Face configs.
        base_prefix: the prefix of all tensor names except the unembedding's; checkpoints of the base model lack it.
        unembedding_name: the name of the unembedding's tensor, if it is not the embedding.
        aliases: for a tensor's name, the other names that checkpoints use.
        ignored: patterns of tensor names that checkpoints may contain but no model needs (masks, rotary tables).
    """

    model_type: str
    base_prefix: str
    unembedding_name: str = "lm_head.weight"
    aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ignored: tuple[str, ...] = ()

    @abstractmethod
    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """Our config of a model, from its Hugging Face config.

        Raises:
            UnsupportedCheckpointError: a required entry is missing, or an entry has an unsupported value.
        """

    @abstractmethod
    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """The source of each parameter of a layer, by the parameter's name within `blocks.LAYER.`."""

    @abstractmethod
    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """The source of each parameter outside of the layers."""

    def sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """The source of each parameter, by the parameter's full name."""
        sources = dict(self.outer_sources(config))
        for layer in range(config.n_layers):
            for name, source in self.layer_sources(config, layer).items():
                sources[f"blocks.{layer}.{name}"] = source
        return sources

    def find(self, name: str, available: Collection[str], config: TransformerConfig | None = None) -> str:
        """The name of a source in a checkpoint: its own name, that without the base model's prefix, or an alias.

        A tied embedding may be stored as the unembedding alone: safetensors keeps one name of two.

        Raises:
            MissingTensorError: the checkpoint has none of these names.
        """
        for candidate in (name, name.removeprefix(self.base_prefix), *self.aliases.get(name, ())):
            if candidate in available:
                return candidate
        if config is not None and config.tied_unembedding and name == self.outer_sources(config)["embedding"].name:
            unembedding = self.stored_unembedding(available)
            if unembedding is not None:
                return unembedding
        raise MissingTensorError(
            f"The checkpoint has no tensor {name!r}, which a {self.model_type} model needs. It has {len(available)} "
            f"tensors, such as {', '.join(sorted(available)[:4]) or 'none'}.",
            tensor=name,
        )

    def embedding_name(self, config: TransformerConfig, available: Collection[str] = ()) -> str:
        """The name of the embedding's tensor, with or without the base model's prefix, as it is available."""
        name = self.outer_sources(config)["embedding"].name
        plain = name.removeprefix(self.base_prefix)
        return plain if name not in available and plain in available else name

    def stored_unembedding(self, available: Collection[str]) -> str | None:
        """The name under which a checkpoint has the unembedding; None if it does not."""
        names = (self.unembedding_name, *self.aliases.get(self.unembedding_name, ()))
        return next((name for name in names if name in available), None)

    def is_ignored(self, name: str, config: TransformerConfig) -> bool:
        """Whether a checkpoint may have this tensor although no parameter comes from it."""
        unembedding = (self.unembedding_name, *self.aliases.get(self.unembedding_name, ()))
        if config.tied_unembedding and name in unembedding:
            return True
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)


def required(hf_config: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these entries that a config has and that is not None.

    Raises:
        UnsupportedCheckpointError: the config has none of them.
    """
    for name in names:
        if hf_config.get(name) is not None:
            return hf_config[name]
    raise UnsupportedCheckpointError(
        f"The {hf_config.get('model_type')} config has no {' or '.join(names)}. Of its {len(hf_config)} entries, the "
        f"nearest are {', '.join(nearest_first(names[0], map(str, hf_config))[:5]) or 'none'}."
    )


def refuse(hf_config: Mapping[str, Any], name: str, *allowed: Any, model_type: str | None = None) -> None:
    """Refuse a config in which an entry is set to a value that is not allowed; missing and None are allowed.

    Args:
        hf_config: the config's entries, or a part of them.
        name: the entry.
        allowed: its values that are supported.
        model_type: the config's, if `hf_config` is only a part of it.

    Raises:
        UnsupportedCheckpointError: the value is not allowed.
    """
    value = hf_config.get(name)
    if value is not None and value not in allowed:
        raise UnsupportedCheckpointError(
            f"The {model_type or hf_config.get('model_type')} config has {name} = {shown(value, 60)}. Supported: "
            f"{' or '.join(map(repr, allowed)) or 'not set'}."
        )
