"""The pass over the texts on one machine, with checkpoints."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from neuron_explainer.collation.corpus.texts import Text
from neuron_explainer.collation.corpus.windows import CorpusReader, Cursor, Pool, pools
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.saved_state import ResumePoint, load_state, save_state
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.collation import Collation, RunModel
from neuron_explainer.collation.statistics.entries import Entries
from neuron_explainer.errors import InvalidRequestError, OutOfSpaceError


@dataclass
class Job:
    """What is to be done, whoever does it.

    Attributes:
        settings: what is collated, and how.
        entries: whether activations are by token or by token pair.
        texts: makes the stream of texts anew, from the first one on.
        encode: text to token ids.
        bos_token: what is put before every sequence; None: nothing.
        run_model: tokens to activations.
        device: where these are.
        folder: where checkpoints are kept; None: none are.
        identity: all that a checkpoint must agree with, as JSON.
        checkpoint_seconds: how often one is written.
        progress: what the run reports to.
        components: for each layer the components that are covered; None: all.
    """

    settings: CollateSettings
    entries: Entries
    texts: Callable[[], Iterator[Text]]
    encode: Callable[[str], Sequence[int]]
    bos_token: int | None
    run_model: RunModel
    device: torch.device
    folder: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    checkpoint_seconds: float = 300.0
    progress: Progress = field(default_factory=lambda: Progress(show=False))
    components: dict[int, list[int]] | None = None

    def empty_collation(self) -> Collation:
        """A collation of no sequences yet."""
        return Collation(self.settings, self.entries, self.components)

    def pools(self, reader: CorpusReader, start: Cursor) -> Iterator[Pool]:
        """The corpus's sequences from a place on."""
        return pools(reader, self.encode, self.settings, self.bos_token, start)


@dataclass(frozen=True)
class Corpus:
    """What the texts turned out to be: how many, how many tokens and sequences, and the SHA-256 of them."""

    n_texts: int
    n_tokens: int
    n_sequences: int
    sha256: str


def run_locally(job: Job) -> tuple[Collation, Corpus]:
    """Go through all texts, from the last checkpoint on if there is one.

    Whatever stops the run (a bad document, an error, Ctrl-C), what was done until then is saved first. Ctrl-C waits for
    the batch that is being worked on; a second one does not wait, and goes back to the last checkpoint.

    Raises:
        CorpusChangedError: the texts are not those that an earlier part of the run saw.
        InvalidRequestError: there is not a single token.
    """
    run = _LocalRun(job)
    try:
        with _patience() as interrupts:
            run.to_the_end(interrupts)
    except OutOfSpaceError:
        raise
    except BaseException:
        run.save_what_is_done()
        raise
    return run.collation, run.corpus


class _LocalRun:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.collation = job.empty_collation()
        checkpoint = load_state(job.folder, job.identity) if job.folder is not None else None
        self.position = self.saved = checkpoint.position if checkpoint else None
        self.reader = CorpusReader(job.texts(), self.position.read if self.position else None)
        if checkpoint is not None:
            self.collation.restore(checkpoint.tensors, job.device)
            job.progress.resume(checkpoint.position.pool_start.tokens)
        self._is_whole = True  # whether every layer has taken in the same batches
        self._saved_at = time.monotonic()

    @property
    def corpus(self) -> Corpus:
        assert self.position is not None
        end = self.position.pool_start
        return Corpus(self.position.n_texts, end.tokens, end.sequences, self.position.digest)

    def to_the_end(self, interrupts: list[int]) -> None:
        if self.position is not None and self.position.is_complete:
            return
        start = self.position.pool_start if self.position else Cursor()
        done = self.position.batches_done if self.position else 0
        end = start
        for pool in self.job.pools(self.reader, start):
            self._through(pool, done, interrupts)
            end, done = pool.end, 0
        if end.sequences == 0:
            raise InvalidRequestError("The texts hold not a single token: there is nothing to collate.")
        self.position = ResumePoint(end, 0, self.reader.n_texts, self.reader.digest, is_complete=True)
        self.collation.prune()
        self._save()

    def _through(self, pool: Pool, done: int, interrupts: list[int]) -> None:
        batches = pool.batches(self.job.settings.batch_tokens)
        for number, batch in enumerate(batches):
            if number < done:
                continue
            self._is_whole = False
            self.collation.take(batch, self.job.run_model)
            self._is_whole = True
            self.position = ResumePoint(pool.start, number + 1, self.reader.n_texts, self.reader.digest)
            self.job.progress.advance(int(batch.lengths.sum()), self.reader.n_characters)
            if interrupts:
                raise KeyboardInterrupt
            if time.monotonic() - self._saved_at >= self.job.checkpoint_seconds:
                self._save()

    def save_what_is_done(self) -> None:
        """Save, unless nothing was done since the last time, or a batch was being taken in when the run stopped."""
        if self._is_whole and self.position is not self.saved:
            self._save()

    def _save(self) -> None:
        if self.job.folder is not None and self.position is not None:
            save_state(self.job.folder, self.job.identity, self.position, self.collation.tensors())
            self.saved = self.position
        self._saved_at = time.monotonic()


@contextmanager
def _patience() -> Iterator[list[int]]:
    """Gather the first interrupt in a list, for the work to look at, and let further ones through at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    in_charge = threading.current_thread() is threading.main_thread()
    if not in_charge or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield received  # someone else looks after interrupts
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
