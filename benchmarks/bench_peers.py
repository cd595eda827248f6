"""What people use today, beside this library: TransformerLens 4, nnsight 0.8 and interp-engine 1.14.

Run by `make bench-peers`, in an environment of its own, since sae_lens 6 does not go with TransformerLens 4. Each tool
is a process of its own with the same weights, and they take turns; for patching, both are in one. Every job is measured
after a check that all give the same numbers. `--processor-time` counts the processor's seconds, with one thread, on a
busy machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.line_process import REPOSITORY
from benchmarks.peers.processes import ToolProcess, largest_differences, median_of, ratio_to_ours, rounds_of
from benchmarks.peers.tool import JOBS

PACKAGES = {"TransformerLens": "transformer-lens", "nnsight": "nnsight", "interp-engine": "interp-engine"}
PARTS = ("jobs", "memory", "start", "patching")
MEMORY_JOBS = ("plain", "record", "gradients, weights frozen", "node table")
MOST_APART = 1e-4


def installed() -> list[str]:
    """Ours and the peers that are here; the others are named."""
    found = ["ours"]
    for tool, package in PACKAGES.items():
        try:
            print(f"{tool} {version(package)}")
            found.append(tool)
        except PackageNotFoundError:
            print(f"{tool} is not installed here. Run `make bench-peers`.")
    print(f"torch {version('torch')}, transformers {version('transformers')}")
    return found


@contextmanager
def running(tools: Sequence[str], folder: Path, n_tokens: int, n_threads: int) -> Iterator[dict[str, ToolProcess]]:
    """A process of each tool."""
    with ExitStack() as stack:
        yield {tool: stack.enter_context(ToolProcess(tool, folder, n_tokens, n_threads)) for tool in tools}


def jobs(name: str, processes: dict[str, ToolProcess], repeats: int, clock: str) -> None:
    """Check, then time, each job."""
    for job in JOBS:
        ours = processes["ours"].numbers(job)
        for tool in processes:
            if tool == "ours":
                continue
            worst, kind = largest_differences(ours, processes[tool].numbers(job))
            print(f"{name}, {job}: {tool} is at most {worst:.1e} of the largest number apart ({kind})")
            if worst > MOST_APART:
                raise SystemExit(f"{tool} gives other numbers than this library.")
        rounds = rounds_of(processes, job, repeats)
        for tool, taken in rounds.items():
            ratio = f"{ratio_to_ours(rounds, tool, clock):8.2f} of ours" if tool != "ours" else ""
            print(f"{name}, {job:<26} {tool:<16} {median_of(taken, clock) * 1e3:9.1f} ms {ratio}", flush=True)


def memory(name: str, tools: Sequence[str], folder: Path, n_tokens: int, n_threads: int) -> None:
    """The peak of resident memory in a job, in a process that has done nothing else but load the model.

    The rise says less: `transformers` maps weights, which become resident when they are first used.
    """
    for job in MEMORY_JOBS:
        for tool in tools:
            with ToolProcess(tool, folder, n_tokens, n_threads) as process:
                taken = process.did("peak", job)
            rise, peak = (taken["peak"] - taken["before"]) / 2**20, taken["peak"] / 2**20
            print(f"{name}, {job:<26} {tool:<16} {peak:7.0f} MiB at the peak, {rise:7.0f} more than loaded", flush=True)


def start(name: str, tools: Sequence[str], folder: Path, n_threads: int, repeats: int) -> None:
    """From the start of a process to its first logit: import, load, a plain pass of 16 tokens; files are cached."""
    taken: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
    for number in range(-1, repeats):
        for tool in tools:
            with ToolProcess(tool, folder, 16, n_threads, first=True) as process:
                if number >= 0:
                    taken[tool].append(process.ready)
    for tool in tools:
        wall, processor = median_of(taken[tool], "wall"), median_of(taken[tool], "processor")
        peak = median_of(taken[tool], "peak") / 2**20
        print(
            f"{name}, start to first number: {tool:<16} {wall:6.2f} s, {processor:6.2f} s of processor, {peak:6.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--models", nargs="*", choices=["gpt2", "smollm2"], default=["gpt2", "smollm2"])
    parser.add_argument("--tokens", nargs="*", type=int, default=[16, 128])
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    tools = installed()
    clock = "processor" if options.processor_time else "wall"
    n_threads = 1 if options.processor_time else os.cpu_count() or 1
    print(f"{clock} time, {n_threads} threads, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as made:
        for model in options.models:
            folder = Path(made) / model
            command = [sys.executable, "-m", "benchmarks.peers.weights", model, str(folder)]
            subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"TQDM_DISABLE": "1"}, check=True)
            for n_tokens in options.tokens if options.only in (None, "jobs", "memory") else ():
                name = f"{model}, {n_tokens} tokens"
                if options.only in (None, "jobs"):
                    with running(tools, folder, n_tokens, n_threads) as processes:
                        jobs(name, processes, options.repeats, clock)
                if options.only in (None, "memory"):
                    memory(name, tools, folder, n_tokens, n_threads)
            if options.only in (None, "start"):
                start(model, tools, folder, n_threads, min(options.repeats, 3))
            if model == "smollm2" and "TransformerLens" in tools and options.only in (None, "patching"):
                from benchmarks.peers.patching import patching

                measure = time.process_time if options.processor_time else time.perf_counter
                patching(folder, min(options.repeats, 3), measure)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
