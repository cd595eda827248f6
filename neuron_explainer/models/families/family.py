"""The base class of families: how to read a config, and which tensor becomes which of our parameters."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor

from neuron_explainer.errors import (
    MalformedCheckpointError,
    MissingTensorError,
    UnsupportedCheckpointError,
    choices_sentence,
    nearest_first,
    shown,
)
from neuron_explainer.models.families.config_entries import ConfigEntry
from neuron_explainer.models.transformer_config import TransformerConfig


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def transposed(tensor: Tensor) -> Tensor:
    """The transpose of a matrix, as a view."""
    return tensor.transpose(0, 1)  # raises where `.T` would only warn: for what has a single axis, or none


@dataclass(frozen=True)
class TensorSource:
    """The checkpoint tensor of a parameter, and how the parameter is made from it.

    Attributes:
        name: the tensor's name in a Hugging Face checkpoint of the whole model (with the base model's prefix).
        convert: makes the parameter from the tensor: a view, so that weights can be shared with a model in memory.
        otherwise: another source, for checkpoints that do not have this tensor.
    """

    name: str
    convert: Callable[[Tensor], Tensor] = unchanged
    otherwise: "TensorSource | None" = None


class Family(ABC):
    """An adapter for one `model_type`. Instances hold no state.

    Attributes:
        model_type: the name in Hugging Face configs.
        base_prefix: the prefix of all tensor names except the unembedding's; checkpoints of the base model lack it.
        unembedding_name: the name of the unembedding's tensor, if it is not the embedding.
        aliases: for a tensor's name, the other names that checkpoints use.
        entries: what the entries of its configs can be; see `config_entries`. Those that are not named are not checked.
        ignored: patterns of tensor names that checkpoints may contain but no model needs (masks, rotary tables).
        harmless_entries: entries of its configs that need not be read: they change nothing where they are not.
        unsupported_entries: entries that change the model if they have another value than this one, and are not read.
            Those of the config class of `transformers` are known without it; see `class_entries`.
        entry_aliases: other names of entries that `transformers` takes, beside those of the config class.
    """

    model_type: str
    base_prefix: str
    unembedding_name: str = "lm_head.weight"
    aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    entries: Mapping[str, ConfigEntry] = MappingProxyType({})
    ignored: tuple[str, ...] = ()
    harmless_entries: frozenset[str] = frozenset()
    unsupported_entries: Mapping[str, Any] = MappingProxyType({})
    entry_aliases: Mapping[str, str] = MappingProxyType({})

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
        return dict(self.each_source(config))

    def each_source(self, config: TransformerConfig) -> Iterator[tuple[str, TensorSource]]:
        """Each parameter's full name and source, one by one: a config can name any number of layers."""
        yield from self.outer_sources(config).items()
        for layer in range(config.n_layers):
            for name, source in self.layer_sources(config, layer).items():
                yield f"blocks.{layer}.{name}", source

    def find(self, name: str, available: Collection[str]) -> str:
        """The name of a source in a checkpoint: its own name, that without the base model's prefix, or an alias.

        Raises:
            MissingTensorError: the checkpoint has none of these names.
        """
        found = self._found(name, available)
        if found is not None:
            return found
        raise MissingTensorError(
            f"The checkpoint has no tensor {name!r}, which a {self.model_type} model needs. It has {len(available)} "
            f"tensors, such as {', '.join(sorted(available)[:4]) or 'none'}.",
            tensor=name,
        )

    def located(self, source: TensorSource, available: Collection[str]) -> tuple[str, TensorSource]:
        """The name of a parameter's tensor in a checkpoint, and the source that it belongs to.

        Raises:
            MissingTensorError: the checkpoint has none of the source's tensors.
        """
        alternative: TensorSource | None = source
        while alternative is not None:
            found = self._found(alternative.name, available)
            if found is not None:
                return found, alternative
            alternative = alternative.otherwise
        return self.find(source.name, available), source

    def find_tied(self, name: str, available: Collection[str]) -> str:
        """As `find`, for an embedding that is the unembedding too: a file may have it under either name."""
        names = (name, self.unembedding_name)
        found = next((each for each in names if self._found(each, available) is not None), name)
        return self.find(found, available)

    def _found(self, name: str, available: Collection[str]) -> str | None:
        candidates = (name, name.removeprefix(self.base_prefix), *self.aliases.get(name, ()))
        return next((candidate for candidate in candidates if candidate in available), None)

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
        f"The {hf_config.get('model_type')} config has no {' or '.join(names)}. "
        f"{choices_sentence(nearest_first(names[0], map(str, hf_config)))}"
    )


def check_divides(d_model: int, n_heads: int) -> None:
    """Refuse a residual stream whose channels the heads cannot share.

    Raises:
        MalformedCheckpointError: the number of heads does not divide the number of channels.
    """
    if d_model % n_heads:
        raise MalformedCheckpointError(f"{n_heads} heads cannot share {d_model} channels evenly.")


def refuse(
    hf_config: Mapping[str, Any], name: str, *allowed: Any, model_type: str | None = None, reason: str | None = None
) -> None:
    """Refuse a config in which an entry is set to a value that is not allowed; missing and None are allowed.

    Args:
        hf_config: the config's entries, or a part of them.
        name: the entry.
        allowed: its values that are supported.
        model_type: the config's, if `hf_config` is only a part of it.
        reason: why other values are not supported.

    Raises:
        UnsupportedCheckpointError: the value is not allowed.
    """
    value = hf_config.get(name)
    if value is not None and value not in allowed:
        raise UnsupportedCheckpointError(
            f"The {model_type or hf_config.get('model_type')} config has {name} = {shown(value)}. Supported: "
            f"{' or '.join(map(repr, allowed)) or 'not set'}{'' if reason is None else f'; {reason}'}."
        )
