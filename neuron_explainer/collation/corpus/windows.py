"""From texts to sequences of tokens, and from sequences to batches; a resumed run gets the same batches.

Sequences are numbered in the order of the texts, and gathered in chunks of about eight batches. Within a chunk they are
batched by length, so that batches need little padding. Chunks and batches depend on the texts and the settings alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.models.layers.token_checks import int64_on_cpu

_BATCHES_IN_CHUNK = 8


@dataclass(frozen=True)
class CorpusPosition:
    """A position in the stream of sequences.

    Attributes:
        texts: how many texts are used up.
        windows: how many sequences of the next text are used up.
        sequences: how many sequences come before the position.
        tokens: how many tokens of text these have.
        characters: how many characters the used-up texts have.
    """

    texts: int = 0
    windows: int = 0
    sequences: int = 0
    tokens: int = 0
    characters: int = 0


@dataclass(frozen=True)
class Batch:
    """Sequences that run through the model together.

    Attributes:
        tokens: token ids, padded on the right with 0.
        lengths: the number of tokens of each sequence.
        sequence_index: the number of each sequence.
    """

    tokens: Int64[Tensor, "sequences tokens"]
    lengths: Int64[Tensor, " sequences"]
    sequence_index: Int64[Tensor, " sequences"]


@dataclass(frozen=True)
class CorpusChunk:
    """Some consecutive sequences, and the positions before and after them."""

    start: CorpusPosition
    end: CorpusPosition
    sequences: list[list[int]] = field(repr=False)

    def batches(self, batch_tokens: int) -> list[Batch]:
        """The sequences in batches, the longest first. A batch has at most `batch_tokens` tokens, padding included.

        A sequence that is longer is a batch of its own.
        """
        order = sorted(range(len(self.sequences)), key=lambda number: -len(self.sequences[number]))
        batches = []
        while order:
            width = len(self.sequences[order[0]])
            n_rows = max(1, batch_tokens // width)
            rows, order = sorted(order[:n_rows]), order[n_rows:]
            tokens = torch.zeros(len(rows), width, dtype=torch.int64, device="cpu")
            for row, number in enumerate(rows):
                tokens[row, : len(self.sequences[number])] = int64_on_cpu(self.sequences[number])
            lengths = int64_on_cpu([len(self.sequences[number]) for number in rows])
            batches.append(Batch(tokens, lengths, int64_on_cpu(rows) + self.start.sequences))
        return batches


def corpus_chunks(
    reader: CorpusReader,
    encode: Callable[[str], Sequence[int]],
    settings: CollateSettings,
    bos_token: int | None = None,
    start: CorpusPosition | None = None,
) -> Iterator[CorpusChunk]:
    """The sequences of the texts from `start` on, in chunks.

    Args:
        reader: a reader before the first text.
        encode: text to token ids.
        settings: context length, stride and the limit of tokens.
        bos_token: the token put before every sequence; None: no token.
        start: where an earlier run stopped, always the start or end of a chunk; None: the first text.

    Raises:
        CorpusChangedError: the texts differ from those that the reader expects.
    """
    position = start or CorpusPosition()
    for _ in range(position.texts):
        reader.next()
    prefix = [] if bos_token is None else [bos_token]
    budget = _BATCHES_IN_CHUNK * max(settings.batch_tokens, settings.context_length)
    chunk_start, gathered, n_gathered = position, [], 0
    while (text := reader.next()) is not None:
        first, windows = sequences_of(text.content, encode, settings, prefix)
        for number, window in enumerate(windows):
            if number < position.windows:
                continue
            if settings.max_tokens is not None:
                window = window[: settings.max_tokens - position.tokens]
                if not window:
                    break
            gathered.append(first + window)
            n_gathered += len(gathered[-1])
            position = replace(
                position,
                windows=number + 1,
                sequences=position.sequences + 1,
                tokens=position.tokens + len(window),
            )
            if n_gathered >= budget:
                yield CorpusChunk(chunk_start, position, gathered)
                chunk_start, gathered, n_gathered = position, [], 0
        position = replace(position, texts=position.texts + 1, windows=0, characters=reader.n_characters)
        if settings.max_tokens is not None and position.tokens >= settings.max_tokens:
            break
    if gathered:
        yield CorpusChunk(chunk_start, position, gathered)


def sequences_of(
    content: str, encode: Callable[[str], Sequence[int]], settings: CollateSettings, prefix: list[int]
) -> tuple[list[int], Iterator[list[int]]]:
    """The token that each sequence of a text begins with, if any, and what follows it in each.

    A text that begins with the token itself has it once, and a chat has it only if its template writes it.

    Args:
        content: the text.
        encode: text to token ids.
        settings: context length and stride.
        prefix: the token put before the sequences of texts; empty: none.
    """
    tokens = encode(content)
    if prefix and list(tokens[: len(prefix)]) == prefix:
        tokens = tokens[len(prefix) :]
    elif isinstance(content, ChatText):
        prefix = []
    return prefix, windows_of(tokens, settings)


def windows_of(tokens: Sequence[int], settings: CollateSettings) -> Iterator[list[int]]:
    """The sequences of one text: one every `stride` tokens, until its last token is in one.

    >>> list(windows_of([1, 2, 3, 4, 5], CollateSettings(context_length=3, stride=2)))
    [[1, 2, 3], [3, 4, 5]]
    """
    size = settings.new_tokens
    step = settings.stride or size
    start = 0
    while start < len(tokens):
        yield list(tokens[start : start + size])
        if start + size >= len(tokens):
            return
        start += step
