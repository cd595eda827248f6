"""Measure within one run: medians of interleaved rounds, reported as ratios, and this process's memory."""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch


def interleaved_seconds(
    functions: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 15,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """The time of each call of each function in seconds: wall time, or what another clock counts.

    `time.process_time` counts the processor's seconds, which mean something also on a machine that is busy otherwise.

    The functions take turns, so that a machine that slows down slows all of them; the first `warm_up` rounds are not
    counted, and the garbage collector rests while the clock runs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    gc.freeze()  # what is there already need not be looked through before every call
    for repeat in range(warm_up + repeats):
        for name, function in functions.items():
            gc.collect()
            gc.disable()
            try:
                start = clock()
                function()
                elapsed = clock() - start
            finally:
                gc.enable()
            if repeat >= warm_up:
                seconds[name].append(elapsed)
    gc.unfreeze()
    return seconds


def timing_options(parser: argparse.ArgumentParser, repeats: int) -> tuple[argparse.Namespace, Callable[[], float]]:
    """The options, with `--repeats` and `--processor-time` among them, and the clock that they ask for.

    The processor's seconds are those of one thread, which torch is then held to.
    """
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    if options.processor_time:
        torch.set_num_threads(1)
    return options, time.process_time if options.processor_time else time.perf_counter


def median_seconds(
    functions: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 15,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median time of each function in seconds; see `interleaved_seconds`."""
    seconds = interleaved_seconds(functions, repeats=repeats, warm_up=warm_up, clock=clock)
    return {name: statistics.median(times) for name, times in seconds.items()}


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median, over the rounds, of one function's time divided by another's in the same round."""
    return statistics.median(above / below for above, below in zip(numerators, denominators, strict=True))


def until_done(function: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The function, returning when its work on a GPU is done, not when it is queued."""
    if device.type != "cuda":
        return function

    def waiting() -> object:
        result = function()
        torch.cuda.synchronize(device)
        return result

    return waiting


def print_ratio(what: str, ratio: float, target: float | None = None, unit: str = "") -> None:
    """Print what was measured, the ratio, and whether the target, if any, was met."""
    line = f"{what:<72} {ratio:8.3f}{unit}"
    if target is not None:
        line += f"   (at most {target:g}{unit}: {'met' if ratio <= target else 'MISSED'})"
    print(line)


def resident_bytes(key: str) -> int:
    """This process's resident memory now (`VmRSS`) or at its peak (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}: this benchmark needs Linux")


def start_peak_anew() -> None:
    """Reset the peak of this process's resident memory to what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def taken_by(function: Callable[[], object]) -> dict[str, float]:
    """The wall time and the processor's time of one call, in seconds; the garbage collector rests meanwhile."""
    gc.collect()
    gc.disable()
    wall, processor = time.perf_counter(), time.process_time()
    try:
        function()
        return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    finally:
        gc.enable()


def memory_of(function: Callable[[], object]) -> dict[str, float]:
    """This process's resident memory before a call and at its peak until the result is there, in bytes."""
    gc.collect()
    start_peak_anew()
    before = resident_bytes("VmRSS")
    result = function()
    peak = resident_bytes("VmHWM")
    del result
    return {"before": before, "peak": peak}
