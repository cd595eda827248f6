"""From texts to sequences of tokens, and from those to batches: one after the other, and again from any point.

Sequences are numbered in the order of the texts. They are taken from the texts in pools of some batches; within a pool
they are ordered by length, so that little is padded. Where a pool begins, what is in it, and how it is divided depend
on the texts and the settings alone, so a run that is resumed goes through the same batches as one never stopped.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from neuron_explainer.collation.corpus.texts import Text
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import CorpusChangedError

_BATCHES_IN_POOL = 8


@dataclass(frozen=True)
class Cursor:
    """A place in the stream of sequences.

    Attributes:
        texts: how many texts are used up.
        windows: how many sequences of the next one are.
        sequences: how many sequences there were before this place.
        tokens: how many tokens of text they held.
        characters: how many characters the used-up texts had.
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
        tokens: padded on the right with 0.
        lengths: how many tokens each has.
        sequence_index: their numbers.
    """

    tokens: Int64[Tensor, "sequences tokens"]
    lengths: Int64[Tensor, " sequences"]
    sequence_index: Int64[Tensor, " sequences"]


@dataclass(frozen=True)
class Pool:
    """Some consecutive sequences, and the places in the stream before and after them."""

    start: Cursor
    end: Cursor
    sequences: list[list[int]] = field(repr=False)

    def batches(self, batch_tokens: int) -> list[Batch]:
        """The pool's sequences, the longest first, in batches of at most `batch_tokens` tokens with their padding.

        A sequence longer than that is a batch of its own.
        """
        order = sorted(range(len(self.sequences)), key=lambda position: -len(self.sequences[position]))
        batches = []
        while order:
            width = len(self.sequences[order[0]])
            n_rows = max(1, batch_tokens // width)
            rows, order = sorted(order[:n_rows]), order[n_rows:]
            tokens = torch.zeros(len(rows), width, dtype=torch.int64)
            for row, position in enumerate(rows):
                tokens[row, : len(self.sequences[position])] = torch.tensor(self.sequences[position])
            lengths = torch.tensor([len(self.sequences[position]) for position in rows])
            batches.append(Batch(tokens, lengths, torch.tensor(rows) + self.start.sequences))
        return batches


class CorpusReader:
    """Reads texts one by one, keeps count and a digest of what was read, and compares it with what was read before."""

    def __init__(self, texts: Iterator[Text], expected_digest: tuple[int, str] | None = None) -> None:
        """Begin before the first text; `expected_digest` is the digest that an earlier run had after so many texts."""
        self._texts = texts
        self._expected = expected_digest
        self._hash = hashlib.sha256()
        self.n_texts = 0
        self.n_characters = 0

    def next(self) -> Text | None:
        """The next text; None after the last.

        Raises:
            CorpusChangedError: the texts are not those of the earlier run.
        """
        text = next(self._texts, None)
        if text is not None:
            content = text.content.encode()
            self._hash.update(len(content).to_bytes(8, "little") + content)
            self.n_texts += 1
            self.n_characters += len(text.content)
        if self._expected is not None:
            self._compare(*self._expected, ended=text is None)
        return text

    def _compare(self, n_texts: int, digest: str, ended: bool) -> None:
        if self.n_texts == n_texts and self.digest == digest:
            self._expected = None
        elif self.n_texts >= n_texts or ended:
            raise CorpusChangedError(
                f"The first {n_texts} texts are not those that the run began with. Resume it with the same texts in "
                "the same order, or start anew with overwrite=True."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of all texts read so far, in hex; each text's length in bytes is part of it."""
        return self._hash.hexdigest()


def pools(
    reader: CorpusReader,
    encode: Callable[[str], Sequence[int]],
    settings: CollateSettings,
    bos_token: int | None = None,
    start: Cursor | None = None,
) -> Iterator[Pool]:
    """The sequences of the texts from `start` on, in pools.

    Args:
        reader: at the first text.
        encode: text to token ids.
        settings: context length, stride, and how many tokens there may be.
        bos_token: what is put before every sequence; None: nothing.
        start: where an earlier run had come to, always the start or end of a pool.

    Raises:
        CorpusChangedError: the texts are not those that the reader expects.
    """
    place = start or Cursor()
    for _ in range(place.texts):
        reader.next()
    prefix = [] if bos_token is None else [bos_token]
    budget = _BATCHES_IN_POOL * max(settings.batch_tokens, settings.context_length)
    pool_start, gathered, n_gathered = place, [], 0
    while (text := reader.next()) is not None:
        for number, window in enumerate(windows_of(encode(text.content), settings)):
            if number < place.windows:
                continue
            if settings.max_tokens is not None:
                window = window[: settings.max_tokens - place.tokens]
                if not window:
                    break
            gathered.append(prefix + window)
            n_gathered += len(gathered[-1])
            place = replace(place, windows=number + 1, sequences=place.sequences + 1, tokens=place.tokens + len(window))
            if n_gathered >= budget:
                yield Pool(pool_start, place, gathered)
                pool_start, gathered, n_gathered = place, [], 0
        place = replace(place, texts=place.texts + 1, windows=0, characters=reader.n_characters)
        if settings.max_tokens is not None and place.tokens >= settings.max_tokens:
            break
    if gathered:
        yield Pool(pool_start, place, gathered)


def windows_of(tokens: Sequence[int], settings: CollateSettings) -> Iterator[list[int]]:
    """The sequences of one text: one every `stride` tokens, until its last token is in one."""
    size = settings.new_tokens
    step = settings.stride or size
    start = 0
    while start < len(tokens):
        yield list(tokens[start : start + size])
        if start + size >= len(tokens):
            return
        start += step
