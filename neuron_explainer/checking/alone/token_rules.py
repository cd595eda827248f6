"""Tokens: a text comes back, its beginning token is there once, and what is written by a chat template has one, too."""

from __future__ import annotations

import unicodedata
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


def token_rules(context: StandardModelContext | None) -> Iterator[Finding]:
    """Whether texts become tokens and come back, with one token before them at most.

    Args:
        context: the model with its tokenizer; None if there is a `Transformer` alone.
    """
    name = "tokens"
    if context is None:
        yield not_checked(name, "A Transformer has no tokenizer. Give what ne.load_model gives.")
        return
    if not context.has_tokenizer:
        yield not_checked(name, "The model has no tokenizer.")
        return
    same = sum(_back(context, text) == text for text in _TEXTS)
    lost = [text for text in _TEXTS if _essence(_back(context, text)) != _essence(text)]
    if lost and context.tokenizer.n_tokens >= _LEAST_VOCABULARY:
        said = f"{len(lost)} of {len(_TEXTS)} texts do not come back: {lost[0]!r} comes back as"
        yield failed(name, f"{said} {_back(context, lost[0])!r}.")
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
    if lost:
        few = f"The tokenizer has {context.tokenizer.n_tokens} tokens, too few for each text"
        yield not_checked("texts as tokens", f"{few}: {len(_TEXTS) - len(lost)} of {len(_TEXTS)} come back.")
    n_others = len(_TEXTS) - same - len(lost)
    others = f", {n_others} but for case, accents or spaces" if n_others else ""
    yield passed(name, f"{same} of {len(_TEXTS)} texts come back as they were{others}; {_before(added)}.")
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


def _essence(text: str) -> str:
    """A text without case, accents and spaces, which some tokenizers leave out."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in letters if not each.isspace() and not unicodedata.combining(each))


def _before(added: list[int]) -> str:
    if not added:
        return "no token is put before them"
    return "one token is put before them" if len(added) == 1 else f"{len(added)} tokens are put before them"
