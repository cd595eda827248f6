"""A process that is asked by lines: a line goes to its standard input, and a line of its standard output answers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TextIO

_BUSY = "import torch; torch.set_num_threads(2); a = torch.rand(700, 700)\nwhile True: a @ a"
REPOSITORY = Path(__file__).resolve().parents[1]


class LineProcess:
    """A process that has been started and waits; ask it, then close it.

    Args:
        command: what is run.
        checkout: the folder that it runs in and imports from.
        variables: environment variables besides ours.
        quiet: leave out what it prints on standard error.
    """

    def __init__(
        self,
        command: Sequence[object],
        checkout: Path = REPOSITORY,
        variables: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)} | dict(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, line: str) -> str:
        """The answer to one line."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)
        return self.line()

    def did(self, *arguments: object) -> Any:
        """What a process that runs `answer_lines` answers."""
        return json.loads(self.ask(json.dumps(arguments)))

    def line(self) -> str:
        """The next line that it prints.

        Raises:
            SystemExit: it has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A process ended; its error stands above.")
        return line.rstrip("\n")

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.communicate()  # which closes the pipes too


def threads(n_threads: int) -> dict[str, str]:
    """The environment variables that hold a process to so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads))


def own_answers() -> TextIO:
    """This process's standard output, for answers alone: what else is printed goes to standard error from now on."""
    answers, sys.stdout = sys.stdout, sys.stderr
    return answers


def answer_lines(answer: Callable[..., object], answers: TextIO) -> None:
    """Answer each line of standard input, a JSON list of arguments, with a line of JSON."""
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), file=answers, flush=True)


@contextmanager
def busy_process() -> Iterator[None]:
    """Another process that keeps two threads busy."""
    process = subprocess.Popen([sys.executable, "-c", _BUSY], env=os.environ | threads(2))
    try:
        time.sleep(2)  # until it has begun
        yield
    finally:
        process.kill()
        process.wait()
