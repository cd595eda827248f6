"""A model with its name, tokenizer and device, run by this library's own transformer."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, TypeGuard, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import (
    InvalidRequestError,
    MisconfiguredError,
    TokenizerError,
    TokenizerMismatchError,
)
from neuron_explainer.models.abstract_model_context import ModelContext
from neuron_explainer.models.beginning import encoded, refuse_for_token_ids
from neuron_explainer.models.chats.messages import Chat, is_text_or_chat
from neuron_explainer.models.devices import DeviceGiven, get_default_device
from neuron_explainer.models.generation.sampling import Sampling
from neuron_explainer.models.generation.text_generation import stream_text
from neuron_explainer.models.hooks.applied_at import InterventionFunction
from neuron_explainer.models.hooks.contexts import HookContext
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.hooks.taps import PlaceRequest
from neuron_explainer.models.layers.token_checks import PromptIds, TokenIds, as_token_ids, only_prompt
from neuron_explainer.models.offload.disk_parameters import weights_in_memory
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.tokenizers.trailing_space import warn_of_trailing_space
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.models.weights_by_place import weight_at
from neuron_explainer.vocabulary.checks import LayersGiven, checked_type
from neuron_explainer.vocabulary.places import ActivationLocationType
from neuron_explainer.vocabulary.weights import WeightLocationType

__all__ = ["ModelContext", "StandardModelContext", "get_default_device"]


class StandardModelContext(ModelContext):
    """A model that this library's own `Transformer` runs; `load_model` makes one.

    >>> import neuron_explainer as ne
    >>> ne.load_model("tiny", device="cpu")
    StandardModelContext('tiny', gpt2, 4 layers, 4 heads, 512 neurons, cpu)
    """

    def __init__(
        self,
        model_name: str,
        transformer: Transformer | None = None,
        tokenizer: ModelTokenizer | None = None,
        *,
        config: TransformerConfig | None = None,
        device: DeviceGiven | None = None,
        create: Callable[[], Transformer] | None = None,
        end_token_ids: TokenIds = (),
        reopen: Callable[[], "StandardModelContext"] | None = None,
    ) -> None:
        """Make a context from its parts; `load_model` does this for every model that can be loaded.

        Args:
            model_name: the model's name.
            transformer: the model; None if `create` makes it later.
            tokenizer: its tokenizer; without one, methods about text raise TokenizerError.
            config: needed only without a transformer.
            device: where `create` will put the weights; needed only without a transformer.
            create: makes the model when it is first needed, and again after `free`.
            end_token_ids: the tokens that end a text.
            reopen: makes the context again where a pickle or a copy of it is unpacked; it must be picklable. None:
                a pickle contains the weights.

        Raises:
            MisconfiguredError: neither a transformer nor config, device and create were given, or one is of another
                type.
            TokenizerMismatchError: the tokenizer's vocabulary is not the model's.
        """
        if transformer is not None:
            checked_type("transformer", transformer, Transformer, MisconfiguredError)
            config, device = transformer.config, transformer.device
        if config is None or device is None or (transformer is None and create is None):
            raise MisconfiguredError("A model context needs a transformer, or config, device and create.")
        super().__init__(model_name, device, config)
        if tokenizer is not None:
            checked_type("tokenizer", tokenizer, ModelTokenizer, MisconfiguredError)
            check_vocabulary(tokenizer, config.vocab_size, model_name)
        self._tokenizer = tokenizer
        self._transformer = transformer
        self._create = create
        self._reopen = reopen
        self._weights_as_created: list[tuple[int, int]] | None = None
        self._creating = threading.RLock()  # widgets and workers may ask from several threads
        self.end_token_ids = tuple(as_token_ids(end_token_ids))

    def __repr__(self) -> str:
        return (
            f"StandardModelContext({self.model_name!r}, {self.config.model_type}, {self.n_layers} layers, "
            f"{self.n_attention_heads} heads, {self.n_neurons} neurons, {self.device})"
        )

    @property
    def tokenizer(self) -> ModelTokenizer:
        """The model's tokenizer.

        Raises:
            TokenizerError: the model was loaded without one.
        """
        if self._tokenizer is None:
            raise TokenizerError(
                f"{self.model_name} was loaded without a tokenizer. Pass `tokenizer=` to load_model: a fast tokenizer "
                "of transformers, or the path of a tokenizer.json."
            )
        return self._tokenizer

    @property
    def has_tokenizer(self) -> bool:
        """Whether text can be encoded and decoded."""
        return self._tokenizer is not None

    @property
    def reopened_by(self) -> Callable[[], "StandardModelContext"] | None:
        """What makes the same model again; None of one that came from memory, or whose weights were changed since."""
        made = self._transformer
        return self._reopen if made is None or weights_now(made) == self._weights_as_created else None

    def get_or_create_model(self) -> Transformer:
        """The model itself: created at the first call, the same at every later one.

        Raises:
            InvalidRequestError: it was freed and cannot be created again, because it came from a model in memory.
            CheckpointError: its weights cannot be loaded.
        """
        made = self._transformer
        if made is not None:
            return made
        # Weights made in torch.inference_mode could never take part in a backward pass.
        with self._creating, torch.inference_mode(False):
            if self._transformer is None:
                if self._create is None:
                    raise InvalidRequestError(
                        f"{self.model_name} was freed, and it came from a model in memory. Call load_model with that "
                        "model again."
                    )
                self._transformer = self._create()
                self.config = self._transformer.config  # the weights may say that the unembedding is not tied
                self._weights_as_created = weights_now(self._transformer)
            return self._transformer

    def __reduce__(self) -> tuple[Any, ...]:
        """A model that `load_model` found by name, path or address is found again; its weights do not travel.

        Weights travel if they were changed since, or come from a model in memory.

        Raises:
            InvalidRequestError: the model came from memory and was freed.
        """
        own = {name: value for name, value in self.__dict__.items() if name not in _NOT_PICKLED}
        if (reopen := self.reopened_by) is not None:
            return reopen, (), own
        return _with_weights, (type(self), self.model_name, self.get_or_create_model(), self._tokenizer), own

    def to_tokens(self, text: str | Chat, *, prepend_bos: bool | None = None) -> Int[Tensor, "1 tokens"]:
        """The token ids of a text as the model takes them: a batch of one, on the model's device.

        Args:
            text: the text, or a list of messages.
            prepend_bos: whether a text's tokens begin with the beginning-of-sequence token; None: as the tokenizer
                does.

        Raises:
            InvalidRequestError: it is not a text, or the model has no such token.
            PromptError, ChatTemplateError: as `chat_tokens`.
        """
        if _are_several(text):
            raise InvalidRequestError(
                "text must be of type str, not list. Texts of different lengths need padding, so give one at a time: "
                "[model.to_tokens(text) for text in texts]. derive_batch and generate take lists."
            )
        return torch.tensor([encoded(self, text, prepend_bos)[0]], dtype=torch.long, device=self.device)

    @overload
    def generate(
        self,
        prompt: str | Chat | PromptIds,
        *,
        max_new_tokens: SupportsIndex = 20,
        sampling: Sampling | None = None,
        prepend_bos: bool | None = None,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: list[str] | Sequence[Chat] | list[str | Chat],
        *,
        max_new_tokens: SupportsIndex = 20,
        sampling: Sampling | None = None,
        prepend_bos: bool | None = None,
    ) -> list[str]: ...

    def generate(
        self,
        prompt: Any,
        *,
        max_new_tokens: SupportsIndex = 20,
        sampling: Sampling | None = None,
        prepend_bos: bool | None = None,
    ) -> str | list[str]:
        """Generate a continuation of a prompt. Interventions that this thread has entered take part.

        Example:
            model.generate("Once upon a time", sampling=ne.Sampling(temperature=0.8, seed=0))

        Args:
            prompt: the text to continue, its token ids, or a list of messages to answer; or a list of texts or of such
                lists, which are continued one after the other.
            max_new_tokens: the largest number of new tokens; a token of `end_token_ids` ends the text earlier.
            sampling: how tokens are chosen; None means the most likely token every time.
            prepend_bos: for a text, whether its tokens begin with the beginning-of-sequence token; None: as the
                tokenizer does.

        Returns:
            The new text, without the prompt; for several prompts, a list.

        Raises:
            PromptError: the prompt is empty, is neither a text nor token ids, or is too long for that many new tokens.
            InvalidRequestError: `max_new_tokens` is not a whole number above 0, `sampling` is not a Sampling, or
                `prepend_bos` is given with messages or token ids, or for a model that has no such token.
            ChatTemplateError: the model's chat template is missing, or cannot write the messages.

        Warns:
            TrailingSpaceWarning: the text ends in a space that is a token of its own.
        """
        if _are_several(prompt):
            return [
                self.generate(text, max_new_tokens=max_new_tokens, sampling=sampling, prepend_bos=prepend_bos)
                for text in prompt
            ]
        return "".join(self.stream(prompt, max_new_tokens=max_new_tokens, sampling=sampling, prepend_bos=prepend_bos))

    def stream(
        self,
        prompt: str | Chat | PromptIds,
        *,
        max_new_tokens: SupportsIndex = 20,
        sampling: Sampling | None = None,
        prepend_bos: bool | None = None,
    ) -> Iterator[str]:
        """As `generate`, but piece by piece while the model runs; a piece is one or more whole characters."""
        if is_text_or_chat(prompt):
            token_ids, _ = encoded(self, prompt, prepend_bos)
            warn_of_trailing_space(self.tokenizer, prompt, token_ids)
        else:
            refuse_for_token_ids(prepend_bos)
            only = only_prompt(prompt, "use generate, or stream one at a time")
            token_ids = as_token_ids(only, "a text or a flat sequence of token ids")
        return stream_text(
            self.get_or_create_model(),
            self.tokenizer,
            token_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop_tokens=self.end_token_ids,
        )

    def record(
        self, places: Iterable[PlaceRequest] | PlaceRequest, *, gradients: bool = False
    ) -> HookContext[Recording]:
        """Record the tensors at some places in every forward pass within the context; see `Transformer.record`.

        >>> import neuron_explainer as ne
        >>> model = ne.load_model("tiny", device="cpu")
        >>> with model.record("mlp_post_act") as recording:
        ...     text = model.generate("Once upon a time", max_new_tokens=1)
        >>> recording["mlp_post_act", 0].shape[-1] == model.n_neurons
        True
        """
        return self.get_or_create_model().record(places, gradients=gradients)

    def intervene(
        self, place: ActivationLocationType | str, layer: LayersGiven, fn: InterventionFunction, **options: Any
    ) -> HookContext[Intervention]:
        """Replace the tensor at a place in every forward pass within the context; see `Transformer.intervene`.

        Example:
            with model.intervene("mlp_post_act", 3, torch.zeros_like):  # ablate the MLP neurons of layer 3
                model.generate("Once upon a time")
        """
        return self.get_or_create_model().intervene(place, layer, fn, **options)

    def free(self) -> None:
        """Release the weights; a GPU's memory is given back to the system.

        The memory is free once nothing else refers to the model, its weights or recordings of it.
        """
        self._transformer = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _weight(self, weight_type: WeightLocationType, layer: SupportsIndex | None) -> Float[Tensor, "..."]:
        return weight_at(self.get_or_create_model(), weight_type, layer)


_NOT_PICKLED = (
    "config",
    "device",
    "_tokenizer",
    "_transformer",
    "_create",
    "_reopen",
    "_weights_as_created",
    "_creating",
)


def _with_weights(
    kind: type[StandardModelContext], model_name: str, transformer: Transformer, tokenizer: ModelTokenizer | None
) -> StandardModelContext:
    return kind(model_name, transformer, tokenizer)


def weights_now(transformer: Transformer) -> list[tuple[int, int]]:
    """Where each weight is and how often it was changed in place (which torch does not count in inference mode)."""
    return [(each.data_ptr(), 0 if each.is_inference() else each._version) for each in weights_in_memory(transformer)]


def _are_several(given: object) -> TypeGuard[list[str] | list[Chat]]:
    """Whether these are several texts or chats; a list of messages is one chat."""
    return isinstance(given, list | tuple) and bool(given) and all(map(is_text_or_chat, given))


def check_vocabulary(tokenizer: ModelTokenizer, vocab_size: int, model_name: str) -> None:
    """Refuse a tokenizer that cannot be the model's.

    Many embeddings have more rows than the tokenizer has tokens, rounded up to a convenient size. Up to a tenth more,
    or 512, are accepted.

    Raises:
        TokenizerMismatchError: the tokenizer has ids that the model lacks, or far fewer than the model.
    """
    spare = vocab_size - tokenizer.n_tokens
    if spare < 0 or spare > max(512, vocab_size // 10):
        raise TokenizerMismatchError(
            f"The tokenizer ({tokenizer.origin}) has {tokenizer.n_tokens} tokens and {model_name} has {vocab_size}, so "
            "the two do not belong together. Pass `tokenizer=` the one that the model was trained with."
        )
