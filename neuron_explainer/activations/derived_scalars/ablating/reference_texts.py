"""The texts over which mean activations are taken."""

import gzip
import json
from collections.abc import Sequence
from functools import cache
from typing import SupportsIndex

import numpy as np
from jaxtyping import Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt
from neuron_explainer.errors import InvalidRequestError, TokenizerError, shown
from neuron_explainer.models.beginning import added_before_text, encoded
from neuron_explainer.models.chats.messages import Chat, is_chat, is_text_or_chat
from neuron_explainer.models.layers.token_checks import as_token_ids
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.models.model_registry import EMBEDDED_FOLDER
from neuron_explainer.vocabulary.checks import whole_number

Reference = (
    str
    | Chat
    | Sequence[SupportsIndex]
    | Sequence[str | Chat | Sequence[SupportsIndex] | Int[Tensor, "..."]]
    | Int[Tensor, "..."]
    | Int[np.ndarray, "..."]
)
"""A text, a chat or token ids; or several."""

_N_TEXTS = 16
_MOST_TOKENS = 128
_CHARACTERS = 8 * _MOST_TOKENS  # more than that many tokens of any text that is language


@cache
def sample_texts() -> tuple[str, ...]:
    """The beginnings of some texts of the embedded sample, as many from each of its four sources."""
    with gzip.open(EMBEDDED_FOLDER / "sample.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    by_source: dict[str, list[str]] = {}
    for document in documents:
        by_source.setdefault(document["corpus"], []).append(document["text"][:_CHARACTERS])
    n_each = _N_TEXTS // len(by_source)
    return tuple(text for texts in by_source.values() for text in texts[:: len(texts) // n_each][:n_each])


def reference_prompts(model_context: ModelContext, reference: Reference | None = None) -> list[Prompt]:
    """The texts as tokens, cut to the model's context; the sample's also to 128 tokens.

    Args:
        model_context: the model.
        reference: a text, a chat or token ids, or several; None for the embedded sample.

    Raises:
        InvalidRequestError: `reference` is empty, or something else; or it is None, and the model cannot read text.
        PromptError: a text has no tokens, or token ids are outside of the vocabulary.
    """
    longest = model_context.max_context_length
    if reference is not None:
        return [_cut(model_context, prompt, longest) for prompt in _several(reference)]
    try:
        return [_cut(model_context, text, min(_MOST_TOKENS, longest)) for text in sample_texts()]
    except TokenizerError as error:
        raise InvalidRequestError(
            f"{model_context.model_name} cannot read the embedded texts, over which means are taken: {error} Give "
            "token ids as reference: TensorAblation.mean(index, model, reference=[[5, 17, 3], …])."
        ) from error


def _several(reference: object) -> Sequence[str | Chat | Sequence[int]]:
    """One prompt or several as a list."""
    given = reference.tolist() if isinstance(reference, Tensor | np.ndarray) else reference
    if is_text_or_chat(given):
        return [given]
    if not isinstance(given, Sequence) or isinstance(given, bytes) or not given:
        raise InvalidRequestError(f"reference is {shown(reference)}. Give texts, chats or lists of token ids.")
    if all(whole_number(entry) is not None for entry in given):
        return [list(given)]
    return given


def _cut(model_context: ModelContext, prompt: str | Chat | Sequence[int], longest: int) -> Prompt:
    """A prompt's first tokens."""
    if isinstance(prompt, str) or is_chat(prompt):
        token_ids, n_beginning = encoded(model_context, prompt, None)
    else:
        token_ids = as_token_ids(prompt, "texts, chats or lists of token ids")
        n_beginning = 0
        if not isinstance(model_context, StandardModelContext) or model_context.has_tokenizer:
            added = added_before_text(model_context)
            n_beginning = len(added) if token_ids[: len(added)] == added else 0
    read = read_prompt(model_context, token_ids[:longest])
    return Prompt(read.token_ids, read.token_strings, n_beginning)
