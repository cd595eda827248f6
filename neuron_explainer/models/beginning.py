"""The token that begins a text: one rule for everything that turns text into tokens.

The rule is the model's own. Where its tokenizer puts a token before a text (its post-processor does), every prompt and
every sequence begins with that token: the model was trained on contexts that begin so, and its first position behaves
in a special way. The argument that changes it is `prepend_bos` everywhere.
"""

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.models.chats.messages import Chat, is_chat
from neuron_explainer.vocabulary.checks import checked_flag

if TYPE_CHECKING:
    from neuron_explainer.models.abstract_model_context import ModelContext

_ANY_TEXT = "a"


def added_before_text(model_context: "ModelContext") -> list[int]:
    """The tokens that a model's tokenizer puts before every text."""
    plain = model_context.encode(_ANY_TEXT, add_special_tokens=False)
    whole = model_context.encode(_ANY_TEXT, add_special_tokens=True)
    starts = range(len(whole) - len(plain) + 1)
    start = next((start for start in starts if plain and whole[start : start + len(plain)] == plain), 0)
    return whole[:start]


def beginning_token(model_context: "ModelContext") -> int:
    """The token that marks the beginning of a text.

    It is the token that the tokenizer adds before a text; else the one that ends a text, which GPT-2 and others use for
    both.

    Raises:
        InvalidRequestError: the model has neither, or its tokenizer adds several.
    """
    added = added_before_text(model_context)
    if len(added) > 1:
        raise InvalidRequestError(
            f"The tokenizer of {model_context.model_name} puts {len(added)} tokens before every text; sequences can "
            "begin with one. Use prepend_bos=False."
        )
    if added:
        return added[0]
    if ends := getattr(model_context, "end_token_ids", ()):
        return int(ends[0])
    raise InvalidRequestError(
        f"prepend_bos is set, but {model_context.model_name} has no beginning-of-sequence token and no token that ends "
        "a text. Use prepend_bos=False."
    )


def encoded(model_context: "ModelContext", prompt: str | Chat, prepend_bos: bool | None) -> tuple[list[int], int]:
    """The token ids of a text or chat, and how many of them, at the beginning, are not of the text.

    A chat's tokens are those that its template writes, with whatever token it begins with.

    Args:
        model_context: the model.
        prompt: a text, or a list of messages.
        prepend_bos: whether the beginning-of-sequence token comes first; None: as the model's tokenizer does. A text
            that begins with this token itself gets no second one.

    Raises:
        InvalidRequestError: it is not a text, or `prepend_bos` is none of these or cannot be followed.
        PromptError: the messages are malformed.
        ChatTemplateError: the model has no chat template, or it cannot write the messages.
    """
    text = model_context.chat_text(prompt) if is_chat(prompt) else prompt
    if isinstance(text, ChatText):
        if prepend_bos is not None:
            raise InvalidRequestError(
                "prepend_bos is for texts. A chat begins as the model's template writes it: leave prepend_bos out."
            )
        token_ids, added = model_context.encode(text, add_special_tokens=False), added_before_text(model_context)
        return token_ids, len(added) if token_ids[: len(added)] == added else 0
    if prepend_bos is None:
        token_ids, added = model_context.encode(text), added_before_text(model_context)
        if token_ids[: len(added)] != added:
            return token_ids, 0
        has_its_own = bool(added) and token_ids[len(added) : 2 * len(added)] == added
        return token_ids[len(added) :] if has_its_own else token_ids, len(added)
    first = [beginning_token(model_context)] if checked_flag("prepend_bos", prepend_bos) else []
    token_ids = model_context.encode(text, add_special_tokens=False)
    return token_ids if token_ids[: len(first)] == first else first + token_ids, len(first)


def refuse_for_token_ids(prepend_bos: bool | None) -> None:
    """Refuse to change token ids, which are taken as they are.

    Raises:
        InvalidRequestError: `prepend_bos` is given.
    """
    if prepend_bos is not None:
        raise InvalidRequestError(
            "prepend_bos is for texts. Token ids are taken as they are: leave prepend_bos out, and give the "
            "beginning-of-sequence token among them if it is wanted."
        )
