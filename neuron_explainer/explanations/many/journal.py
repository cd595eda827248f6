"""The file of what came of each component, a line for each: written on as they end, in order when all have ended."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from neuron_explainer.explanations.many.outcome import Outcome
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.disk_full import raise_if_disk_full
from neuron_explainer.storage.local import is_local_file, read_local_bytes

_MOST_BYTES = 4 * 2**30


class OutcomeJournal:
    """What came of components so far. Only one may write a file at a time.

    A line that a killed process left unfinished is cut off; its component is then one of which nothing is known. Of
    several lines of one component the last counts.

    Args:
        path: the file; it need not exist.

    Raises:
        UnreadableFileError, TooLargeError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_place: dict[tuple[int, int], tuple[bytes, bool]] = {}
        self._is_in_order = True
        if is_local_file(path):
            for line in read_local_bytes(path, _MOST_BYTES).splitlines(keepends=True):
                outcome = Outcome.of_line(line) if line.endswith(b"\n") else None
                if outcome is None:
                    self._is_in_order = False
                else:
                    self._keep(outcome, line)

    def _keep(self, outcome: Outcome, line: bytes) -> None:
        place = (outcome.layer, outcome.index)
        if self._by_place and place <= next(reversed(self._by_place)):
            self._is_in_order = False
        self._by_place[place] = line, bool(outcome.errors)

    def repair(self) -> None:
        """Leave out of the file what does not count, so that it can be written on."""
        if not self._is_in_order:
            self._write()

    def add(self, outcome: Outcome) -> None:
        """Write what came of a component behind the others.

        Raises:
            OutOfSpaceError: the disk is full.
        """
        line = outcome.line()
        with raise_if_disk_full(self.path), open(self.path, "ab") as file:
            file.write(line)
        self._keep(outcome, line)

    def finish(self) -> None:
        """Put the lines in order, by layer and number: the file is the same whatever ended first.

        Raises:
            OutOfSpaceError: the disk is full.
        """
        if not self._is_in_order:
            self._write()

    def _write(self) -> None:
        self._by_place = dict(sorted(self._by_place.items()))
        with raise_if_disk_full(self.path):
            write_bytes_atomically(self.path, b"".join(line for line, _ in self._by_place.values()))
        self._is_in_order = True

    def is_finished(self, layer: int, index: int, folder: Path) -> bool:
        """Whether a component came to its end without an error, and its file of explanations is as it was written.

        Args:
            layer, index: where it is.
            folder: the folder of the files.
        """
        line, has_errors = self._by_place.get((layer, index), (b"", True))
        if has_errors:
            return False
        outcome = Outcome.of_line(line)
        return outcome is not None and outcome.file_bytes == _size(folder / str(layer) / f"{index}.jsonl")

    def outcomes(self, places: Iterable[tuple[int, int]] | None = None) -> list[Outcome]:
        """What came of components, by layer and number.

        Args:
            places: layer and number of those that are wanted; None: all.
        """
        wanted = sorted(self._by_place) if places is None else sorted(set(places) & self._by_place.keys())
        found = (Outcome.of_line(self._by_place[place][0]) for place in wanted)
        return [each for each in found if each is not None]


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 if it is missing."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
