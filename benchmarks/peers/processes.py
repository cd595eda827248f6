"""Tools in processes of their own, and what is read off them."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.line_process import LineProcess, threads
from benchmarks.measure import median_ratio
from benchmarks.peers.tool import Numbers, apart

Rounds = dict[str, list[dict[str, float]]]
"""By tool, what each round took: wall time and the processor's."""


class ToolProcess(LineProcess):
    """A process with one tool and one model, which has loaded it."""

    def __init__(self, tool: str, folder: Path, n_tokens: int, n_threads: int, first: bool = False) -> None:
        command = [sys.executable, "-m", "benchmarks.peers.worker", tool, folder, str(n_tokens)]
        quiet = threads(n_threads) | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        start = time.perf_counter()
        super().__init__([*command, "--first"] if first else command, variables=quiet, quiet=True)
        self.ready: dict[str, float] = json.loads(self.line())
        self.ready["wall"] = time.perf_counter() - start

    def numbers(self, job: str) -> Numbers:
        """What the job gave."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "numbers.safetensors"
            self.did("save", job, str(path))
            found: Numbers = load_file(path)
        return found


def rounds_of(processes: Mapping[str, ToolProcess], job: str, repeats: int, warm_up: int = 1) -> Rounds:
    """Each tool's times; they take turns, and each round another one begins."""
    found: Rounds = {name: [] for name in processes}
    order = list(processes)
    for number in range(-warm_up, repeats):
        shift = number % len(order)
        for name in order[shift:] + order[:shift]:
            taken = processes[name].did("time", job)
            if number >= 0:
                found[name].append(taken)
    return found


def ratio_to_ours(rounds: Rounds, name: str, clock: str) -> float:
    """The median over the rounds of a tool's time divided by ours: above 1 it is slower than we are."""
    theirs, ours = ([each[clock] for each in rounds[tool]] for tool in (name, "ours"))
    return median_ratio(theirs, ours)


def median_of(taken: Sequence[Mapping[str, float]], clock: str) -> float:
    """The median of one clock."""
    return statistics.median(each[clock] for each in taken)


def largest_differences(ours: Numbers, theirs: Numbers) -> tuple[float, str]:
    """How far apart two tools' numbers are where they are furthest, and what is there.

    Raises:
        ValueError: one of them lacks something, or shapes differ.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"Ours are {sorted(ours)}, theirs {sorted(theirs)}.")
    return max((apart(ours[kind], theirs[kind]), kind) for kind in ours)
