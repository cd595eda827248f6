"""The token that begins a sequence: one rule for everything that turns text into sequences.

The rule is the model's own. Where its tokenizer puts a token before a text (its post-processor does), every sequence
begins with that token, as prompts of `derive` and `generate` do. A text that is longer than the context is cut into
several sequences, and each begins with it: the model was trained on contexts that begin so, and its first position
behaves in a special way. (SAELens' `prepend_bos` and TransformerLens' `tokenize_and_concatenate` do the same.)
"""

import dataclasses

from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.abstract_model_context import ModelContext
from neuron_explainer.models.model_context import StandardModelContext

_ANY_TEXT = "a"


def added_before_text(model_context: ModelContext) -> list[int]:
    """The tokens that a model's tokenizer puts before every text."""
    plain = model_context.encode(_ANY_TEXT, add_special_tokens=False)
    whole = model_context.encode(_ANY_TEXT, add_special_tokens=True)
    starts = range(len(whole) - len(plain) + 1)
    start = next((start for start in starts if plain and whole[start : start + len(plain)] == plain), 0)
    return whole[:start]


def with_beginning_rule(settings: CollateSettings, model_context: ModelContext) -> CollateSettings:
    """Settings that say whether sequences begin with the token: as they said, else as the model's tokenizer does."""
    if settings.prepend_bos is not None:
        return settings
    return dataclasses.replace(settings, prepend_bos=bool(added_before_text(model_context)))


def beginning_token(model_context: ModelContext) -> int:
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
    if isinstance(model_context, StandardModelContext) and model_context.end_token_ids:
        return model_context.end_token_ids[0]
    raise InvalidRequestError(
        f"prepend_bos is set, but {model_context.model_name} has no beginning-of-sequence token and no token that ends "
        "a text. Use prepend_bos=False."
    )
