"""The sequences on which heads are scored: one's own texts, cut as `collate` cuts them, or random tokens repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from neuron_explainer.collation.corpus.beginning import with_beginning_rule
from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.texts import TextsGiven, read_texts
from neuron_explainer.collation.corpus.windows import Batch, corpus_chunks
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.beginning import added_before_text, beginning_token
from neuron_explainer.models.layers.token_checks import int64_on_cpu

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext


def text_batches(context: ModelContext, texts: TextsGiven, settings: CollateSettings) -> Iterator[Batch]:
    """Batches of the texts' sequences. Texts are read when their turn comes.

    Args:
        context: the model.
        texts: as for `collate`.
        settings: the length of sequences, the beginning token, and the limits.

    Raises:
        InvalidRequestError, MissingFileError, BadDocumentError: as `collate`.
    """
    settings = with_beginning_rule(settings, context)
    chunks = corpus_chunks(
        CorpusReader(read_texts(texts, settings.text_field, context.chat_text)),
        lambda text: context.encode(text, add_special_tokens=False),
        settings,
        beginning_token(context) if settings.prepend_bos else None,
    )
    for chunk in chunks:
        yield from chunk.batches(settings.batch_tokens)


def repeated_batches(
    context: ModelContext, n_sequences: int, length: int, seed: int, prepend_bos: bool | None, batch_tokens: int
) -> Iterator[Batch]:
    """Batches of sequences of different random tokens, each sequence twice in a row; special tokens are left out.

    Raises:
        InvalidRequestError: the model's context or vocabulary is too small for such a sequence.
    """
    beginning = _beginning(context, prepend_bos)
    n_tokens = 2 * length + len(beginning)
    if n_tokens > context.max_context_length:
        raise InvalidRequestError(
            f"length is {length}, so a sequence has {n_tokens} tokens, but {context.model_name} reads at most "
            f"{context.max_context_length}."
        )
    choices = _plain_tokens(context)
    if length > len(choices):
        raise InvalidRequestError(
            f"length is {length}, but {context.model_name} has only {len(choices)} tokens that are not special."
        )
    generator = torch.Generator("cpu").manual_seed(seed)
    rows = []
    for _ in range(n_sequences):
        drawn = choices[torch.randperm(len(choices), generator=generator, dtype=torch.int64, device="cpu")[:length]]
        rows.append(torch.cat([int64_on_cpu(beginning), drawn, drawn]))
    at_once = max(1, batch_tokens // n_tokens)
    for start in range(0, n_sequences, at_once):
        tokens = torch.stack(rows[start : start + at_once])
        numbers = torch.arange(start, start + len(tokens), dtype=torch.int64, device="cpu")
        yield Batch(tokens, torch.full_like(numbers, n_tokens), numbers)


def _beginning(context: ModelContext, prepend_bos: bool | None) -> Sequence[int]:
    if prepend_bos is None:
        return added_before_text(context) if _has_tokenizer(context) else []
    return [beginning_token(context)] if prepend_bos else []


def _plain_tokens(context: ModelContext) -> torch.Tensor:
    """The ids of the tokens that are not special."""
    n_vocabulary = context.get_or_create_model().config.vocab_size
    special: set[int] = set(getattr(context, "end_token_ids", ()))
    if _has_tokenizer(context):
        n_vocabulary = min(n_vocabulary, context.tokenizer.n_tokens)
        added = context.tokenizer.backend.get_added_tokens_decoder()
        special |= {number for number, token in added.items() if token.special}
    return int64_on_cpu([number for number in range(n_vocabulary) if number not in special])


def _has_tokenizer(context: ModelContext) -> bool:
    return bool(getattr(context, "has_tokenizer", True))
