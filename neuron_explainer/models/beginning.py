"""The token that begins a text: one rule for everything that turns text into tokens.

The rule is the model's own. Where its tokenizer puts a token before a text (its post-processor does), every prompt and
every sequence begins with that token: the model was trained on contexts that begin so, and its first position behaves
in a special way. The argument that changes it is `prepend_bos` everywhere.
"""

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
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


def encoded(model_context: "ModelContext", text: str, prepend_bos: bool | None) -> tuple[list[int], int]:
    """The token ids of a text, and how many of them, at the beginning, are not of the text.

    Args:
        model_context: the model.
        text: the text.
        prepend_bos: whether the beginning-of-sequence token comes first; None: as the model's tokenizer does.

    Raises:
        InvalidRequestError: it is not a text, or `prepend_bos` is none of these or cannot be followed.
    """
    if prepend_bos is None:
        token_ids, added = model_context.encode(text), added_before_text(model_context)
        return token_ids, len(added) if token_ids[: len(added)] == added else 0
    first = [beginning_token(model_context)] if checked_flag("prepend_bos", prepend_bos) else []
    return first + model_context.encode(text, add_special_tokens=False), len(first)


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
