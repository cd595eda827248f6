"""Measure in one run: medians of interleaved repetitions, reported as ratios."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def median_seconds(
    functions: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 15,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median time of each function in seconds: wall time, or what another clock counts.

    `time.process_time` counts the processor's seconds, which are meaningful on a busy machine too.

    The functions take turns, so that a machine that slows down slows all of them; the first `warm_up` rounds are not
    counted, and the garbage collector rests while the clock runs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
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
    return {name: statistics.median(times) for name, times in seconds.items()}


def print_ratio(what: str, ratio: float, target: float | None = None, unit: str = "") -> None:
    """One line of a report: what was measured, the ratio, and the target if it has one."""
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
    """Reset the peak of this process's resident memory."""
    Path("/proc/self/clear_refs").write_text("5")
