"""What a family has to say: how to read its configs, and which of its tensors becomes which of our parameters."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor

from neuron_explainer.errors import MissingTensorError, UnsupportedCheckpointError
from neuron_explainer.models.transformer_config import TransformerConfig


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def transposed(tensor: Tensor) -> Tensor:
    """A view of a matrix with its axes exchanged."""
    return tensor.T


@dataclass(frozen=True)
class TensorSource:
    """Which checkpoint tensor a parameter comes from, and how.

    Attributes:
        name: the tensor's name in a Hugging Face checkpoint of the whole model (with the base model's prefix).
        convert: makes the parameter of the tensor: a view, so that weights can be shared with a model in memory.
    """

    name: str
    convert: Callable[[Tensor], Tensor] = unchanged


class Family(ABC):
    """An adapter for one `model_type`. Instances hold no state.

    Attributes:
        model_type: the name in Hugging Face configs.
        base_prefix: what begins the names of all tensors but the unembedding; checkpoints of the base model lack it.
        unembedding_name: the unembedding's tensor, where it is not the embedding.
        aliases: other names that checkpoints have for a tensor, by its name here.
        ignored: patterns of tensors that checkpoints may hold and no model needs (masks, rotary tables).
    """

    model_type: str
    base_prefix: str
    unembedding_name: str = "lm_head.weight"
    aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ignored: tuple[str, ...] = ()

    @abstractmethod
    def config(self, hf_config: Mapping[str, Any]) -> TransformerConfig:
        """Our description of a model from its Hugging Face config.

        Raises:
            UnsupportedCheckpointError: a needed entry is missing, or asks for what this library does not do.
        """

    @abstractmethod
    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """For each parameter of a layer (its name within `blocks.LAYER.`), where it comes from."""

    @abstractmethod
    def outer_sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """For each parameter outside of the layers, where it comes from."""

    def sources(self, config: TransformerConfig) -> dict[str, TensorSource]:
        """For each of our parameters, by its full name, where it comes from."""
        sources = dict(self.outer_sources(config))
        for layer in range(config.n_layers):
            for name, source in self.layer_sources(config, layer).items():
                sources[f"blocks.{layer}.{name}"] = source
        return sources

    def find(self, name: str, available: Collection[str]) -> str:
        """The name under which a checkpoint holds a source: its own, without the base model's prefix, or an alias.

        Raises:
            MissingTensorError: it holds it under none of these.
        """
        for candidate in (name, name.removeprefix(self.base_prefix), *self.aliases.get(name, ())):
            if candidate in available:
                return candidate
        raise MissingTensorError(
            f"The checkpoint holds no tensor {name!r}, which a {self.model_type} model needs. It holds "
            f"{len(available)} tensors, such as {', '.join(sorted(available)[:4]) or 'none'}.",
            tensor=name,
        )

    def is_ignored(self, name: str, config: TransformerConfig) -> bool:
        """Whether a checkpoint's tensor may be there though no parameter comes from it."""
        unembedding = (self.unembedding_name, *self.aliases.get(self.unembedding_name, ()))
        if config.tied_unembedding and name in unembedding:
            return True
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)


def required(hf_config: Mapping[str, Any], *names: str) -> Any:
    """The first of some spellings of a config's entry that is there and not None.

    Raises:
        UnsupportedCheckpointError: none of them is.
    """
    for name in names:
        if hf_config.get(name) is not None:
            return hf_config[name]
    raise UnsupportedCheckpointError(
        f"The {hf_config.get('model_type')} config has no {' or '.join(names)}; it has: {', '.join(sorted(hf_config))}."
    )


def refuse(hf_config: Mapping[str, Any], name: str, *allowed: Any) -> None:
    """Refuse a config whose entry `name` is set to anything but the allowed values (or missing).

    Raises:
        UnsupportedCheckpointError: it is.
    """
    value = hf_config.get(name)
    if value is not None and value not in allowed:
        raise UnsupportedCheckpointError(
            f"The {hf_config.get('model_type')} config has {name} = {value!r}; this library supports "
            f"{' or '.join(map(repr, allowed)) or 'it unset'} there."
        )
