"""A model with its name, tokenizer and device: what everything that looks into a model works with."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import (
    InvalidRequestError,
    MisconfiguredError,
    TokenizerError,
    TokenizerMismatchError,
    UnknownNameError,
)
from neuron_explainer.models.devices import as_device, get_default_device
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.generation.text_generation import stream_text
from neuron_explainer.models.inference_engine_type_registry import InferenceEngineType
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.models.weights_by_place import weight_at
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.weights import WeightLocationType

TokenIds = Sequence[int] | Int[Tensor, "tokens"]

__all__ = ["ModelContext", "StandardModelContext", "get_default_device"]


class ModelContext(ABC):
    """A model that can be asked for its sizes, its weights and its tokens.

    Attributes:
        model_name: what the model was loaded as.
        device: where its weights are.
        config: its sizes and choices.
    """

    def __init__(self, model_name: str, device: torch.device | str, config: TransformerConfig) -> None:
        self.model_name = model_name
        self.device = as_device(device)
        self.config = config

    @classmethod
    def from_model_type(
        cls,
        model_type: str,
        *,
        device: torch.device | str | None = None,
        inference_engine_type: InferenceEngineType | str = InferenceEngineType.STANDARD,
        **options: Any,
    ) -> "StandardModelContext":
        """A model by name, whose weights are loaded when they are first needed.

        Args:
            model_type: whatever `load_model` takes.
            device: where the weights are to be; None means `get_default_device()`.
            inference_engine_type: which engine runs it.
            options: the other arguments of `load_model`.

        Raises:
            UnknownNameError: there is no such model or engine.
        """
        from neuron_explainer.models.checkpoints.load_model import open_model

        if inference_engine_type not in list(InferenceEngineType):
            raise UnknownNameError("inference engine", str(inference_engine_type), list(InferenceEngineType))
        return open_model(model_type, device=device, **options)

    @property
    def n_layers(self) -> int:
        """How many layers there are."""
        return self.config.n_layers

    @property
    def n_neurons(self) -> int:
        """How many MLP neurons a layer has."""
        return self.config.d_mlp

    @property
    def n_attention_heads(self) -> int:
        """How many attention heads a layer has."""
        return self.config.n_heads

    @property
    def d_model(self) -> int:
        """How many channels the residual stream has."""
        return self.config.d_model

    @property
    def max_context_length(self) -> int:
        """How many tokens a prompt may have."""
        return self.config.max_context_length

    @property
    def vocab_size(self) -> int:
        """How many rows the embedding has; some may belong to no token."""
        return self.config.vocab_size

    def get_dim_size(self, dimension: Dimension) -> int:
        """The length of an axis that the model alone decides.

        Raises:
            InvalidRequestError: the prompt decides it, or an autoencoder.
        """
        size = self.config.size_of(dimension)
        if size is None:
            decided = [name.value for name in Dimension if self.config.size_of(name) is not None]
            raise InvalidRequestError(
                f"The length of {dimension.value} is not the model's to say; it says those of {', '.join(decided)}."
            )
        return size

    def get_weight(
        self,
        location_type: WeightLocationType,
        layer: int | None = None,
        normalize_dim: Dimension | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "..."]:
        """A weight, in the shape of `location_type.shape` whatever the family.

        It may be the model's own memory: do not change it in place.

        Args:
            location_type: which weight. Keys' and values' weights that several heads share are repeated for each head.
            layer: which layer; None for what a model has once.
            normalize_dim: an axis of the weight; each vector along it is divided by its norm.
            device: where the result is to be; None means where the model is.

        Raises:
            UnknownNameError: `location_type` is no WeightLocationType.
            InvalidRequestError: there is no such layer, weight or axis.
        """
        if location_type not in list(WeightLocationType):
            raise UnknownNameError("weight", str(location_type), list(WeightLocationType))
        location_type = WeightLocationType(location_type)
        weight = self._weight(location_type, layer)
        if normalize_dim is not None:
            if normalize_dim not in location_type.shape:
                axes = ", ".join(axis.value for axis in location_type.shape)
                raise InvalidRequestError(
                    f"{location_type.value} has no axis {normalize_dim.value} to normalise; it has {axes}."
                )
            weight = torch.nn.functional.normalize(weight, dim=location_type.shape.index(normalize_dim))
        return weight if device is None else weight.to(as_device(device))

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text; see `ModelTokenizer.encode`."""
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def decode(self, token_ids: TokenIds) -> str:
        """The text of a sequence of tokens.

        Raises:
            InvalidRequestError: an id is outside of the vocabulary.
        """
        return self.tokenizer.decode(self._checked(token_ids))

    def decode_token_list(self, token_ids: TokenIds) -> list[str]:
        """Each token's own text; a piece of a character is spelled by its bytes, `\\xe2\\x80`.

        Raises:
            InvalidRequestError: an id is outside of the vocabulary.
        """
        return self.tokenizer.decode_token_list(self._checked(token_ids))

    def decode_token(self, token_id: int) -> str:
        """One token's text, as in `decode_token_list`."""
        return self.decode_token_list([token_id])[0]

    def encode_token_str(self, text: str) -> int:
        """The id of the one token that a text is.

        Raises:
            NotOneTokenError: it is none, or several.
        """
        return self.tokenizer.encode_token_str(text)

    def encode_token_str_list(self, texts: Sequence[str]) -> list[int]:
        """The id of each text's one token."""
        return [self.encode_token_str(text) for text in texts]

    def _checked(self, token_ids: TokenIds) -> list[int]:
        ids = token_ids.tolist() if isinstance(token_ids, Tensor) else list(token_ids)
        for token_id in ids:
            if not 0 <= token_id < self.vocab_size:
                raise InvalidRequestError(
                    f"There is no token {token_id}; {self.model_name} has ids 0 to {self.vocab_size - 1}."
                )
        return ids

    @property
    @abstractmethod
    def tokenizer(self) -> ModelTokenizer:
        """The model's tokenizer."""

    @abstractmethod
    def get_or_create_model(self) -> Transformer:
        """The model itself, created at the first call and the same at every other."""

    @abstractmethod
    def free(self) -> None:
        """Let the weights go. The model is created anew when it is next asked for, where that is possible."""

    @abstractmethod
    def _weight(self, location_type: WeightLocationType, layer: int | None) -> Float[Tensor, "..."]:
        """A weight of the given place, in the shape of that place."""


class StandardModelContext(ModelContext):
    """A model that this library's own `Transformer` runs."""

    def __init__(
        self,
        model_name: str,
        transformer: Transformer | None = None,
        tokenizer: ModelTokenizer | None = None,
        *,
        config: TransformerConfig | None = None,
        device: torch.device | str | None = None,
        create: Callable[[], Transformer] | None = None,
        end_token_ids: TokenIds = (),
    ) -> None:
        """Put a context together of its parts; `load_model` does it for whatever can be loaded.

        Args:
            model_name: what to call the model.
            transformer: the model, or None if `create` is to make it when it is needed.
            tokenizer: its tokenizer; without one, whatever concerns text is refused.
            config: needed only without a transformer.
            device: where `create` will put the weights; needed only without a transformer.
            create: makes the model at first need, and again after `free`.
            end_token_ids: the tokens that end a text.

        Raises:
            MisconfiguredError: neither a transformer nor all that is needed to create one is given.
            TokenizerMismatchError: the tokenizer's vocabulary is not the model's.
        """
        if transformer is not None:
            config, device = transformer.config, transformer.device
        if config is None or device is None or (transformer is None and create is None):
            raise MisconfiguredError("A model context needs a transformer, or config, device and create.")
        super().__init__(model_name, device, config)
        if tokenizer is not None:
            check_vocabulary(tokenizer, config.vocab_size, model_name)
        self._tokenizer = tokenizer
        self._transformer = transformer
        self._create = create
        self._creating = threading.Lock()  # widgets and workers may ask from several threads
        self.end_token_ids = tuple(end_token_ids)

    def __repr__(self) -> str:
        return (
            f"StandardModelContext({self.model_name!r}, {self.config.model_type}, {self.n_layers} layers, "
            f"{self.n_attention_heads} heads, {self.n_neurons} neurons, {self.device})"
        )

    @property
    def tokenizer(self) -> ModelTokenizer:
        """The model's tokenizer.

        Raises:
            TokenizerError: it was loaded without one.
        """
        if self._tokenizer is None:
            raise TokenizerError(
                f"{self.model_name} was loaded without a tokenizer, so it knows token ids alone. Pass `tokenizer=` to "
                "load_model: a fast tokenizer of transformers, or the path of a tokenizer.json."
            )
        return self._tokenizer

    @property
    def has_tokenizer(self) -> bool:
        """Whether text can be encoded and decoded."""
        return self._tokenizer is not None

    def get_or_create_model(self) -> Transformer:
        """The model itself, created at the first call and the same at every other.

        Raises:
            InvalidRequestError: it was freed, and it was made from a model in memory, so it cannot be created again.
            CheckpointError: its weights cannot be loaded.
        """
        with self._creating:
            if self._transformer is None:
                if self._create is None:
                    raise InvalidRequestError(
                        f"{self.model_name} was freed, and it came from a model in memory; call load_model with that "
                        "again."
                    )
                self._transformer = self._create()
            return self._transformer

    def to_tokens(self, text: str) -> Int[Tensor, "1 tokens"]:
        """The token ids of a text as the model takes them, a batch of one, where the model is."""
        return torch.tensor([self.encode(text)], device=self.device)

    def generate(self, prompt: str, *, max_new_tokens: int = 20, sampling: Sampling | None = None) -> str:
        """The text with which the model goes on after a prompt; interventions that are active take part.

        Args:
            prompt: the text so far.
            max_new_tokens: how many tokens are written at most; a token that ends a text (`end_token_ids`) ends it.
            sampling: how tokens are chosen; None takes the most likely one.

        Raises:
            PromptError: the prompt is empty, or too long to write that much after it.
            InvalidRequestError: `max_new_tokens` is not positive.
        """
        return "".join(self.stream(prompt, max_new_tokens=max_new_tokens, sampling=sampling))

    def stream(self, prompt: str, *, max_new_tokens: int = 20, sampling: Sampling | None = None) -> Iterator[str]:
        """As `generate`, piece by piece as it is written; a piece is one or more whole characters."""
        return stream_text(
            self.get_or_create_model(),
            self.tokenizer,
            prompt,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop_tokens=self.end_token_ids,
        )

    def free(self) -> None:
        """Let the weights go; a GPU's memory is given back to the system.

        Memory is free once nothing else refers to the model, its weights or recordings of it.
        """
        self._transformer = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _weight(self, location_type: WeightLocationType, layer: int | None) -> Float[Tensor, "..."]:
        return weight_at(self.get_or_create_model(), location_type, layer)


def check_vocabulary(tokenizer: ModelTokenizer, vocab_size: int, model_name: str) -> None:
    """Refuse a tokenizer that cannot be the model's.

    Models often have more rows than tokens, for the sake of round numbers: up to a tenth more, or 512, are let pass.

    Raises:
        TokenizerMismatchError: it has ids that the model lacks, or far fewer than the model.
    """
    spare = vocab_size - tokenizer.n_tokens
    if spare < 0 or spare > max(512, vocab_size // 10):
        raise TokenizerMismatchError(
            f"The tokenizer ({tokenizer.origin}) has {tokenizer.n_tokens} tokens and {model_name} has {vocab_size}, so "
            "the two do not belong together. Pass `tokenizer=` the one that the model was trained with."
        )
