"""Dashboards of 512 latents: SAEDashboard 0.8 beside `ne.collate`, on the same model, autoencoder and tokens.

Run by `make bench-dashboards`. SAEDashboard has an environment of its own, because it asks for an older typer and NumPy
than this library; `--theirs` names its Python. A random GPT-2 of 4 layers reads 256 sequences of 128 tokens; first both
sides must agree on each latent's largest activation. `--busy` repeats it beside a process of two busy threads.
`--processor-time` counts the processor's seconds, with one thread.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import torch

from benchmarks.line_process import REPOSITORY, LineProcess, busy_process, threads
from benchmarks.measure import median_ratio, print_ratio
from benchmarks.peers.tool import apart

OFFLINE = {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
LAYOUTS = {"default layout": False, "whole sequences": True}
MOST_APART = 1e-5


@contextmanager
def both(folder: Path, theirs: Path, n_threads: int) -> Iterator[dict[str, LineProcess]]:
    """A process of each side, loaded."""
    command = ["-m", "benchmarks.dashboards.worker"]
    variables = threads(n_threads) | OFFLINE
    with (
        LineProcess([sys.executable, *command, "ours", folder], variables=variables) as here,
        LineProcess([theirs, *command, "theirs", folder], variables=variables) as there,
    ):
        for process in (here, there):
            process.line()
        yield {"ours": here, "theirs": there}


def compare_times(name: str, sides: dict[str, LineProcess], whole: bool, repeats: int, clock: str) -> float:
    """Times in turn, and their ratio; ours in seconds is returned."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            seconds[side].append(sides[side].did("time", whole)[clock])
    for side, taken in seconds.items():
        print(f"{name}: {side} {min(taken):.2f} to {max(taken):.2f} s")
    print_ratio(f"{name}: SAEDashboard / ours", median_ratio(seconds["theirs"], seconds["ours"]))
    return sorted(seconds["ours"])[repeats // 2]


def measured(folder: Path, theirs: Path, options: argparse.Namespace) -> None:
    """All parts."""
    clock = "processor" if options.processor_time else "wall"
    n_threads = 1 if options.processor_time else os.cpu_count() or 1
    print(f"{clock} time, {n_threads} threads, load {os.getloadavg()[0]:.1f}", flush=True)
    with both(folder, theirs, n_threads) as sides:
        maxima = {side: torch.tensor(process.did("maxima", False)) for side, process in sides.items()}
        worst = apart(maxima["theirs"], maxima["ours"])
        print(
            f"largest activations of {len(maxima['ours'])} latents: at most {worst:.1e} of the largest apart",
            flush=True,
        )
        if worst > MOST_APART:
            raise SystemExit("Both sides have other maxima.")
        quiet: dict[str, float] = {}
        for load in ("", ", beside two busy threads") if options.busy else ("",):
            with busy_process() if load else nullcontext():
                for layout, whole in LAYOUTS.items():
                    taken = compare_times(layout + load, sides, whole, options.repeats, clock)
                    quiet.setdefault(layout, taken)
                    alone = median(sides["ours"].did("passes", whole)[clock] for _ in range(options.repeats))
                    print(f"{layout + load}: our model's passes alone {alone:.2f} s, {alone / taken:.2f} of ours")
                    if load:
                        print_ratio(f"{layout}: ours beside two busy threads / ours alone", taken / quiet[layout])
    rises = {}
    for side in ("ours", "theirs"):
        with both(folder, theirs, n_threads) as sides:  # fresh ones: a process keeps what it has once taken
            taken = sides[side].did("peak", False)
        rises[side] = taken["peak"] - taken["before"]
        print(f"memory, default layout: {side} {rises[side] / 2**20:.0f} MiB more, {taken['peak'] / 2**20:.0f} in all")
    print_ratio("memory: SAEDashboard's rise / ours", rises["theirs"] / rises["ours"])
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theirs", type=Path, default=REPOSITORY / ".venv-dashboards" / "bin" / "python")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    if not options.theirs.exists():
        raise SystemExit("SAEDashboard is not installed here. Run `make bench-dashboards`.")
    with tempfile.TemporaryDirectory() as made:
        command = [str(options.theirs), "-m", "benchmarks.dashboards.weights", made]
        subprocess.run(command, cwd=REPOSITORY, env=os.environ | OFFLINE, check=True)
        measured(Path(made), options.theirs, options)


if __name__ == "__main__":
    main()
