"""Tokens: a text comes back, its beginning token is there once, and what is written by a chat template has one, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.models.beginning import added_before_text
from neuron_explainer.wording import in_a_sentence

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import StandardModelContext

_TEXTS = ("Once upon a time", " a space before", "two\nlines", "naïve façade 42", "x = [1, 2]  # twice")
_LEAST_VOCABULARY = 256
"""A smaller vocabulary need not have the letters of every text."""


def token_rules(context: StandardModelContext) -> Iterator[Finding]:
    """Whether texts become tokens and come back, with one token before them at most.

    Args:
        context: the model with its tokenizer.
    """
    name = "tokens"
    if not context.has_tokenizer:
        yield not_checked(name, "The model has no tokenizer.")
        return
    changed = [text for text in _TEXTS if _back(context, text).strip() != text.strip()]  # as of small vocabularies
    if len(changed) == len(_TEXTS) and context.tokenizer.n_tokens >= _LEAST_VOCABULARY:
        yield failed(name, f"None of {len(_TEXTS)} texts comes back: {_TEXTS[0]!r} as {_back(context, _TEXTS[0])!r}.")
        return
    added = added_before_text(context)
    for text in _TEXTS[:2]:
        ids = context.to_tokens(text)[0].tolist()
        n_added = len(added)
        if added and ids[n_added : 2 * n_added] == added:
            yield failed(name, f"{text!r} begins with {context.decode(added)!r} twice.")
            return
    again = context.to_tokens(context.decode(added) + _TEXTS[0])[0].tolist() if added else []
    if again[: 2 * len(added)] == added * 2 and added:
        yield failed(name, f"A text that begins with {context.decode(added)!r} gets a second one.")
        return
    yield passed(name, f"{len(_TEXTS) - len(changed)} of {len(_TEXTS)} texts come back as they were; {_before(added)}.")
    yield from _chats(context, added)


def _chats(context: StandardModelContext, added: list[int]) -> Iterator[Finding]:
    name = "chats"
    if context.tokenizer.chat_template is None:
        yield not_checked(name, "The tokenizer has no chat template.")
        return
    try:
        ids = context.to_tokens([{"role": "user", "content": "Hello"}])[0].tolist()
    except NeuronExplainerError as error:
        yield failed(name, f"The chat template cannot write a message: {in_a_sentence(error)}")
        return
    if added and ids[: 2 * len(added)] == added * 2:
        yield failed(name, f"A chat begins with {context.decode(added)!r} twice.")
    else:
        yield passed(name, f"A message becomes {len(ids)} tokens, and begins with one beginning token at most.")


def _back(context: StandardModelContext, text: str) -> str:
    return context.decode(context.encode(text, add_special_tokens=False))


def _before(added: list[int]) -> str:
    if not added:
        return "no token is put before them"
    return "one token is put before them" if len(added) == 1 else f"{len(added)} tokens are put before them"
