"""What every model context offers: sizes, weights, and text to tokens and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import ChatTemplateError, InvalidRequestError, choices_sentence, nearest_first, shown
from neuron_explainer.models.chats.chat_text import ChatText, ChatTokens, chat_text
from neuron_explainer.models.chats.messages import Chat, is_chat
from neuron_explainer.models.devices import DeviceGiven, as_device
from neuron_explainer.models.inference_engine_type_registry import InferenceEngineType
from neuron_explainer.models.layers.token_checks import TokenIds, as_token_ids
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.checks import checked_token_id
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.weights import WeightLocationType

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import StandardModelContext


class ModelContext(ABC):
    """A model with its name, tokenizer and device.

    Attributes:
        model_name: the name under which the model was loaded.
        device: where its weights are.
        config: its sizes and options.

    Raises:
        InvalidRequestError: `device` is not a device, or is not available here.
    """

    if not TYPE_CHECKING:  # to mypy, a class with __getattr__ has every attribute

        def __getattr__(self, name: str) -> Any:
            where = ""
            if not name.startswith("_") and hasattr(Transformer, name):
                where = f"; its transformer has: get_or_create_model().{name}"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{where}", name=name, obj=self)

    def __init__(self, model_name: str, device: DeviceGiven, config: TransformerConfig) -> None:
        self.model_name = model_name
        self.device = as_device(device)
        self.config = config

    @classmethod
    def from_model_type(
        cls,
        model_type: str,
        *,
        device: DeviceGiven | None = None,
        inference_engine_type: InferenceEngineType | str = InferenceEngineType.STANDARD,
        **options: Any,
    ) -> "StandardModelContext":
        """A model by name; its weights are loaded when they are first needed.

        Example:
            model = ModelContext.from_model_type("gpt2-small", device="cpu")

        Args:
            model_type: whatever `load_model` takes.
            device: where the weights go; None means `get_default_device()`.
            inference_engine_type: the engine that runs the model.
            options: the other arguments of `load_model`.

        Raises:
            UnknownNameError: the model or the engine is unknown.
        """
        from neuron_explainer.models.checkpoints.load_model import open_model

        member_of(InferenceEngineType, inference_engine_type, "inference engine")
        return open_model(model_type, device=device, **options)

    @property
    def n_layers(self) -> int:
        """The number of layers."""
        return self.config.n_layers

    @property
    def n_neurons(self) -> int:
        """The number of MLP neurons in a layer."""
        return self.config.d_mlp

    @property
    def n_attention_heads(self) -> int:
        """The number of attention heads in a layer."""
        return self.config.n_heads

    @property
    def d_model(self) -> int:
        """The number of channels of the residual stream."""
        return self.config.d_model

    @property
    def max_context_length(self) -> int:
        """The largest number of tokens in a prompt."""
        return self.config.max_context_length

    @property
    def vocab_size(self) -> int:
        """The number of rows of the embedding; some may belong to no token."""
        return self.config.vocab_size

    def get_dim_size(self, dimension: Dimension | str) -> int:
        """The length of an axis that depends only on the model.

        >>> import neuron_explainer as ne
        >>> ne.load_model("tiny", device="cpu").get_dim_size("mlp_acts")
        512

        Args:
            dimension: a member, or its name or value.

        Raises:
            UnknownNameError: the dimension is unknown.
            InvalidRequestError: its length depends on the prompt or on an autoencoder.
        """
        asked = member_of(Dimension, dimension, "dimension")
        size = self.config.size_of(asked)
        if size is None:
            sizes = [name.value for name in Dimension if self.config.size_of(name) is not None]
            raise InvalidRequestError(
                f"The length of {asked.value} does not depend on the model alone. "
                f"{choices_sentence(nearest_first(asked.value, sizes))}"
            )
        return size

    def get_weight(
        self,
        location_type: WeightLocationType | str,
        layer: SupportsIndex | None = None,
        normalize_dim: Dimension | str | None = None,
        device: DeviceGiven | None = None,
    ) -> Float[Tensor, "..."]:
        """A weight, in the shape of `WeightLocationType.shape` for every family.

        It may be the model's own memory: do not change it in place.

        Example:
            model.get_weight("MLP_TO_RESIDUAL", layer=3)  # (neurons, d_model)
            model.get_weight("attn.q_proj", 3)  # (heads, d_model, d_head)

        Args:
            location_type: which weight: a member, or its name or value. Keys' and values' weights that several heads
                share are repeated for each head.
            layer: which layer; None for a weight without layers.
            normalize_dim: an axis of the weight: each vector along it is divided by its norm.
            device: where the result goes; None means where the model is.

        Raises:
            UnknownNameError: the weight or the dimension is unknown.
            InvalidRequestError: the model does not have this layer or weight, or the weight does not have this axis.
        """
        weight_type = member_of(WeightLocationType, location_type, "weight")
        weight = self._weight(weight_type, layer)
        if normalize_dim is not None:
            axis = member_of(Dimension, normalize_dim, "dimension")
            if axis not in weight_type.shape:
                raise InvalidRequestError(
                    f"{weight_type.value} has no axis {axis.value}. Choose one of: "
                    f"{', '.join(each.value for each in weight_type.shape)}."
                )
            weight = torch.nn.functional.normalize(weight, dim=weight_type.shape.index(axis))
        return weight if device is None else weight.to(as_device(device))

    def encode(self, text: str | Chat, *, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text; see `ModelTokenizer.encode`. Of a list of messages, those of `chat_tokens`.

        Raises:
            InvalidRequestError: it is not a text.
        """
        if is_chat(text):
            text = self.chat_text(text)
        is_whole = isinstance(text, ChatText)  # with the special tokens that belong to it
        return self.tokenizer.encode(cast("str", text), add_special_tokens=add_special_tokens and not is_whole)

    def chat_tokens(
        self,
        messages: Chat,
        *,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        **variables: Any,
    ) -> ChatTokens:
        """The tokens of a chat, as the model's own chat template writes it. They show themselves in a notebook.

        Wherever a prompt is taken, a list of messages is too, and stands for these tokens; options are given here:
        `ne.derive(model.chat_tokens(messages, enable_thinking=False), …)`. As in `transformers`, names of special
        tokens in the messages (`<|im_end|>`) become those tokens.

        >>> import neuron_explainer as ne
        >>> template = "{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}"
        >>> model = ne.load_model("tiny", device="cpu", chat_template=template)
        >>> model.chat_tokens([{"role": "user", "content": "Hello"}]).text
        'user: Hello'

        Args:
            messages: mappings, each with a `role` and a `content`, which is a text or a list of parts
                `{"type": "text", "text": "…"}`. Other entries, such as `tool_calls`, are the template's.
            add_generation_prompt: whether the beginning of an answer comes last; None: if the last message is not the
                assistant's. False and no more is what `transformers` does when it is asked for nothing.
            continue_final_message: whether the last message stays open, so that the model goes on with it; None: if it
                is the assistant's, and `add_generation_prompt` is not given.
            variables: what else the template knows, such as `tools=[…]` or `enable_thinking=False`.

        Raises:
            ChatTemplateError: the model has no chat template; or it is malformed, refuses the messages, or takes too
                long or too much memory.
            PromptError: these are not messages; the error says which one is wrong.
            InvalidRequestError: both options are True, or the last message has no content to continue.
        """
        text = self.chat_text(
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            **variables,
        )
        token_ids = self.encode(text)
        return ChatTokens(token_ids, str(text), self.decode_token_list(token_ids))

    def chat_text(
        self,
        messages: Chat,
        *,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        **variables: Any,
    ) -> ChatText:
        """The text of a chat, special tokens included; as `chat_tokens`, whose arguments and errors it shares.

        It can be given as a prompt, and gets no second beginning-of-sequence token.
        """
        template = self.tokenizer.chat_template
        if template is None:
            raise ChatTemplateError(
                f"{self.model_name} has no chat template, like most models that were not trained on chats. Give a "
                "text, or pass the template to load_model: `chat_template=`, or `tokenizer=` a tokenizer of "
                "transformers that has it."
            )
        return chat_text(
            template,
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables=variables,
        )

    def decode(self, token_ids: TokenIds) -> str:
        """The text of a sequence of tokens.

        Raises:
            InvalidRequestError: it is not a sequence of whole numbers, or an id is outside of the vocabulary.
        """
        return self.tokenizer.decode(self._checked(token_ids))

    def decode_token_list(self, token_ids: TokenIds) -> list[str]:
        """The text of each token; a part of a character is shown by its bytes, `\\xe2\\x80`.

        >>> import neuron_explainer as ne
        >>> model = ne.load_model("tiny", device="cpu")
        >>> model.decode_token_list(model.encode(" upon a time"))
        [' upon', ' a', ' time']

        Raises:
            InvalidRequestError: it is not a sequence of whole numbers, or an id is outside of the vocabulary.
        """
        return self.tokenizer.decode_token_list(self._checked(token_ids))

    def decode_token(self, token_id: SupportsIndex) -> str:
        """The text of one token, as in `decode_token_list`."""
        return self.decode_token_list([token_id])[0]

    def encode_token_str(self, text: str) -> int:
        """The id of a text that is exactly one token, such as " Paris".

        Raises:
            NotOneTokenError: the text is not one token; the error shows its tokens.
        """
        return self.tokenizer.encode_token_str(text)

    def encode_token_str_list(self, texts: Sequence[str]) -> list[int]:
        """The ids of texts that are exactly one token each.

        Raises:
            NotOneTokenError: a text is not one token.
            InvalidRequestError: it is not a list of texts.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise InvalidRequestError(f"texts is {shown(texts)}. Give a list of texts.")
        return [self.encode_token_str(text) for text in texts]

    def _checked(self, token_ids: TokenIds) -> list[int]:
        return [checked_token_id(number, self.vocab_size, self.model_name) for number in as_token_ids(token_ids)]

    @property
    @abstractmethod
    def tokenizer(self) -> ModelTokenizer:
        """The model's tokenizer."""

    @abstractmethod
    def get_or_create_model(self) -> Transformer:
        """The model itself: created at the first call, the same at every later one."""

    @abstractmethod
    def free(self) -> None:
        """Release the weights. If possible, the model is created anew when it is next needed."""

    @abstractmethod
    def _weight(self, weight_type: WeightLocationType, layer: SupportsIndex | None) -> Float[Tensor, "..."]:
        """A weight, in the shape of `weight_type.shape`."""
