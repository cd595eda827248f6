"""The process in which a model's chat templates run, and what is asked of it."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from neuron_explainer.errors import ChatTemplateError

MOST_CHARACTERS = 1 << 22
"""How much a template may write. The longest contexts, of a million tokens, have about as much."""
MOST_CPU_SECONDS = 5.0
MOST_MEMORY_BYTES = 1 << 29
_MOST_SECONDS = 120.0
"""By the clock, on a machine that is busy with other things."""
_IDLE_SECONDS = 60.0
_LONGEST_ANSWER = 1 << 26
_PIECE = 1 << 16
_PROGRAM = Path(__file__).with_name("renderer.py")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ")


class RenderingProcess:
    """A process that renders templates, one request at a time; started when it is needed, and ended when it is idle.

    A template that takes too long or too much memory ends the process, and nothing else. A copy of this object starts a
    process of its own, in another process of the user's too.
    """

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: weakref.finalize[..., RenderingProcess] | None = None
        self._owner = os.getpid()

    def __reduce__(self) -> tuple[type["RenderingProcess"], tuple[()]]:
        return RenderingProcess, ()

    def render(self, template: str, variables: dict[str, Any]) -> str:
        """The text that a template writes.

        Args:
            template: the template.
            variables: what it finds under their names: plain values, as JSON has them.

        Raises:
            ChatTemplateError: the template is malformed, fails, refuses what it finds, or takes too much of anything.
                The message is the end of a sentence about it.
        """
        request = {"template": template, "variables": variables, "most_characters": MOST_CHARACTERS}
        with self._asking:
            answer = self._answer(json.dumps(request).encode() + b"\n")
        if isinstance(text := answer.get("text"), str):
            return text
        line = answer.get("line") if isinstance(answer.get("line"), int) else None
        where = "" if line is None else f" in line {line}"
        problem, message = answer.get("problem"), answer.get("message")
        if problem == "memory":
            raise ChatTemplateError(f"takes more than {MOST_MEMORY_BYTES >> 20} MiB of memory")
        verb = "refuses these messages" if problem == "refused" else "fails"
        raise ChatTemplateError(f"{verb}{where}: {message}", line=line)

    def _answer(self, request: bytes) -> dict[str, Any]:
        before = self._process
        process = self._started()
        try:
            if (line := _exchange(process, request)) is not None:
                return _decoded(line)
            code = process.wait()
        except BaseException:  # an interrupt, too: its next answer would be the one to this request
            self._end()
            raise
        self._end()
        if code == -signal.SIGPROF:
            raise ChatTemplateError(f"takes more than {MOST_CPU_SECONDS:g} seconds")
        if process is before:  # it was idle for long, say, and ended just before it was asked
            return self._answer(request)
        raise ChatTemplateError(f"ended the process that it runs in ({_cause(code)})")

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._owner != os.getpid():  # in a fork
            self._leave_to_the_other()
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = _new_process()
            self._ending = weakref.finalize(self, _ended, self._process, self._owner)
        return self._process

    def _leave_to_the_other(self) -> None:
        """Forget the process, which answers to the one that this was forked from."""
        if self._process is not None and self._ending is not None:
            self._ending.detach()
            _close_pipes(self._process)
            self._process.returncode = 0  # nobody here waits for it
        self._process, self._ending, self._owner = None, None, os.getpid()

    def _end(self) -> None:
        if self._ending is not None:
            self._ending()
        self._process = self._ending = None


def _new_process() -> "subprocess.Popen[bytes]":
    limits = (MOST_CPU_SECONDS, MOST_MEMORY_BYTES, _IDLE_SECONDS)
    known = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    known["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if os.path.isabs(path))
    try:
        # -S and -s: what starts with every Python on this machine is not needed, -P: nor what lies beside the program.
        return subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable or "python3", "-S", "-s", "-P", str(_PROGRAM), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=known,
            cwd=os.path.abspath(os.sep),
            start_new_session=True,  # an interrupt of the user's program is not one of this
        )
    except OSError as error:
        raise ChatTemplateError(f"cannot run, because no process can be started for it: {error}") from error


def _ended(process: "subprocess.Popen[bytes]", owner: int) -> None:
    """End a process, if it is this one's own and still runs."""
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    _close_pipes(process)


def _close_pipes(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what was still to be written
            cast("IO[bytes]", pipe).close()


def _exchange(process: "subprocess.Popen[bytes]", request: bytes) -> bytes | None:
    """The answer to a request; None if the process ended instead."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    try:
        stdin.write(request)
        stdin.flush()
    except BrokenPipeError:
        return None
    deadline = time.monotonic() + _MOST_SECONDS
    answer = bytearray()
    while not answer.endswith(b"\n"):
        if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise ChatTemplateError(f"has written nothing for {_MOST_SECONDS:g} seconds")
        piece = os.read(stdout.fileno(), _PIECE)
        if not piece:
            return None
        answer += piece
        if len(answer) > _LONGEST_ANSWER:
            raise ChatTemplateError("writes too much")
    return bytes(answer)


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ChatTemplateError("has disturbed the process that it runs in")
    return answer


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
