"""Runs cases in a worker process, which is started again when a case has ended it or made it hang."""

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from helpers.paths import REPOSITORY

LONGEST_SILENCE = 60.0
"""After so many seconds without an answer, a worker hangs. It may wait for other processes, on a busy machine."""


@dataclass(frozen=True)
class Fault:
    """A case that is neither loaded nor refused by an error of the library.

    Attributes:
        what: the exception and its place, or what else happened. Equal for cases with the same fault.
        number: the case; -1: a content that was given.
    """

    what: str
    number: int = -1


class WorkerProcess:
    """A worker, which is started when it is first needed, and again when it has ended."""

    def __init__(self, longest_silence: float = LONGEST_SILENCE) -> None:
        self._longest_silence = longest_silence
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  (open as long as the worker)
        self.n_started = 0

    def close(self) -> None:
        """End the worker for good."""
        self._stop()
        self._said.close()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None

    def cases(self, target: str, seed: int, start: int, stop: int) -> Iterator[tuple[int, str, str]]:
        """Run cases: for each its number, its outcome, and for a "fault" what it is."""
        while start < stop:
            for number, outcome, what in self._answered({"target": target, "seed": seed, "start": start, "stop": stop}):
                yield number, outcome, what
                start = number + 1

    def fault_of(self, target: str, scene: int, content: bytes) -> str | None:
        """What happens with one content; None if it is loaded or refused."""
        request = {"target": target, "scene": scene, "content": base64.b64encode(content).decode()}
        ((_, outcome, what),) = self._answered(request)
        return what if outcome == "fault" else None

    def case(self, target: str, seed: int, number: int) -> tuple[int, bytes, str]:
        """A case without running it: the number of its scene, its content, and the name of the file."""
        self._ask({"target": target, "seed": seed, "number": number})
        answer = self._answer()
        assert answer is not None, self._last_words()
        return answer["scene"], base64.b64decode(answer["content"]), answer["file"]

    def target_names(self) -> list[str]:
        """The names of all targets."""
        self._ask({"names": True})
        answer = self._answer()
        assert answer is not None, self._last_words()
        return list(answer["names"])

    def _answered(self, request: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
        """The outcomes of a request, up to the case that ends the worker."""
        self._ask(request)
        first = request.get("start", 0)
        for number in range(first, request.get("stop", first + 1)):
            begun = self._answer()
            answer = None if begun is None else self._answer()
            if begun is None:
                raise RuntimeError(f"The worker ended between two cases: {self._last_words()}")
            if answer is None:
                yield number, "fault", self._end()
                return
            outcome, what = answer["outcome"]
            yield number, outcome, what

    def _ask(self, request: dict[str, Any]) -> None:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _start(self) -> None:
        self.n_started += 1
        paths = [str(REPOSITORY), str(REPOSITORY / "tests")]
        settings = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._said.seek(0)
        self._said.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, **settings},
            cwd=REPOSITORY,
        )
        self._lines = queue.Queue()
        threading.Thread(target=_read_lines, args=(self._process, self._lines), daemon=True).start()

    def _answer(self) -> dict[str, Any] | None:
        """The next answer; None if the worker has ended or says nothing for too long."""
        try:
            line = self._lines.get(timeout=self._longest_silence)
        except queue.Empty:
            return None
        return None if line is None else json.loads(line)

    def _end(self) -> str:
        """How the worker ended. It is started again when it is next needed."""
        assert self._process is not None
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._stop()
            return f"no answer for {self._longest_silence:g} seconds"
        self._stop()
        return f"the process ended ({signal.Signals(-status).name if status < 0 else f'exit status {status}'})"

    def _last_words(self) -> str:
        self._said.seek(0)
        return self._said.read()[-3000:]


def _read_lines(process: subprocess.Popen[str], lines: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed while it was read
        pass
    lines.put(None)
