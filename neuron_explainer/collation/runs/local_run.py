"""One pass over the texts on this machine. The state is saved now and then, and when something stops the run."""

import time

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.windows import CorpusChunk, CorpusPosition
from neuron_explainer.collation.runs.interrupts import delayed_interrupt
from neuron_explainer.collation.runs.job import CorpusSummary, Job
from neuron_explainer.collation.runs.saved_state import ResumePoint, load_state, save_state
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.errors import OutOfSpaceError


def run_locally(job: Job) -> tuple[Collation, CorpusSummary]:
    """Read all texts, from the saved state on if there is one.

    Whatever stops the run (a bad document, an error, Ctrl-C), the work done so far is saved first. Ctrl-C lets the
    current batch finish. A second Ctrl-C stops at once; the run then resumes from the last saved state. The work of a
    complete run that took so long that it has been saved is saved again; else see `Job.save_work`.

    Raises:
        CorpusChangedError: the texts differ from those of the earlier part of the run.
        InvalidRequestError: the texts contain no tokens.
    """
    run = _LocalRun(job)
    try:
        with delayed_interrupt() as interrupts:
            run.to_the_end(interrupts)
    except OutOfSpaceError:
        raise
    except BaseException:
        run.save_work()
        raise
    return run.collation, run.corpus


class _LocalRun:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.collation = job.empty_collation()
        saved = load_state(job.folder, job.identity) if job.folder is not None else None
        self.resume_point = self.saved_point = saved.resume_point if saved else None
        self.reader = CorpusReader(job.texts(), self.resume_point.read if self.resume_point else None)
        if saved is not None:
            self.collation.restore(saved.tensors, job.device)
            job.progress.resume(saved.resume_point.chunk_start.tokens)
        self._is_consistent = True  # whether every layer has the same batches
        self._saved_at = time.monotonic()

    @property
    def corpus(self) -> CorpusSummary:
        assert self.resume_point is not None
        return self.resume_point.corpus

    def to_the_end(self, interrupts: list[int]) -> None:
        if self.resume_point is not None and self.resume_point.is_complete:
            return
        start = self.resume_point.chunk_start if self.resume_point else CorpusPosition()
        done = self.resume_point.batches_done if self.resume_point else 0
        end = start
        for chunk in self.job.chunks(self.reader, start):
            self._collate_chunk(chunk, done, interrupts)
            end, done = chunk.end, 0
        self.resume_point = ResumePoint.at_the_end(end, self.reader)
        self.collation.prune()
        self.job.save_work = self.save_work
        if self.saved_point is not None:
            self._save()

    def _collate_chunk(self, chunk: CorpusChunk, done: int, interrupts: list[int]) -> None:
        batches = chunk.batches(self.job.settings.batch_tokens)
        for number, batch in enumerate(batches):
            if number < done:
                continue
            self._is_consistent = False
            self.job.source.add_batch(self.collation, batch)
            self._is_consistent = True
            self.resume_point = ResumePoint(chunk.start, number + 1, self.reader.n_texts, self.reader.digest)
            self.job.progress.advance(int(batch.lengths.sum()), self.reader.n_characters)
            if interrupts:
                raise KeyboardInterrupt
            if time.monotonic() - self._saved_at >= self.job.save_every_seconds:
                self._save()

    def save_work(self) -> None:
        """Save, unless nothing is new or the run stopped in the middle of a batch."""
        if self._is_consistent and self.resume_point is not self.saved_point:
            self._save()

    def _save(self) -> None:
        if self.job.folder is not None and self.resume_point is not None:
            save_state(self.job.folder, self.job.identity, self.resume_point, self.collation.tensors())
            self.saved_point = self.resume_point
        self._saved_at = time.monotonic()
