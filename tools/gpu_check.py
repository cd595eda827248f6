"""Check and measure everything that is to be known on a CUDA machine, in at most five minutes.

Run as `python tools/gpu_check.py` from anywhere, or as `make gpu`. It needs this source tree and the package's
dependencies alone: models have random weights, and nothing is downloaded. Speeds are compared with `transformers`,
where it is installed. It prints PASS and FAIL lines and a Markdown table for benchmarks/RESULTS.md, and exits with
status 1 if a check fails. Without a GPU the same code runs on the CPU, on small shapes.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the source tree, whether or not it is installed

import torch

from benchmarks.gpu.checks import Check, run_checks
from benchmarks.gpu.collating import check_collating
from benchmarks.gpu.quietness import check_memory, check_waits
from benchmarks.gpu.running import check_generating, check_recording
from benchmarks.gpu.scalars import check_scalars
from benchmarks.gpu.speed import measure_speed, speed_table
from benchmarks.shapes import GPT2_SMALL, LLAMA_1B
from benchmarks.small_models import SMALL_CONFIGS

FEW_FAMILIES = ["gpt2", "gemma2"]


def checks(device: torch.device, *, smallest: bool) -> Iterator[Check]:
    """Every check, one after the other; on the CPU, which proves little beside itself, most in two families alone."""
    every = FEW_FAMILIES if smallest else list(SMALL_CONFIGS)
    some = every if device.type == "cuda" else FEW_FAMILIES
    n_texts, n_derives = (8, 20) if smallest else (40, 200)
    yield from run_checks("derived scalars", lambda: check_scalars(every, device))
    yield from run_checks("recording", lambda: check_recording(some, device))
    yield from run_checks("generating", lambda: check_generating(some, device))
    yield from run_checks("collating", lambda: check_collating(some[:1] if smallest else some, device, n_texts))
    yield from run_checks("no hidden waits", lambda: check_waits(some[:1] if smallest else some, device))
    yield from run_checks("memory", lambda: check_memory(device, n_derives))


def speeds(device: torch.device, *, smallest: bool) -> list[str]:
    """The table of speeds: well-known shapes in bfloat16 on a GPU, tiny ones in float32 on the CPU."""
    with_transformers = importlib.util.find_spec("transformers") is not None
    if not with_transformers:
        print("transformers is not installed: speeds are compared with our own plain pass.")
    on_gpu = device.type == "cuda"
    rows = measure_speed(
        {"GPT-2-small": GPT2_SMALL, "Llama-1B": LLAMA_1B}
        if on_gpu
        else {name: SMALL_CONFIGS[name] for name in ("gpt2", "llama")},
        [64, 512] if on_gpu else [16, 48],
        device,
        torch.bfloat16 if on_gpu else torch.float32,
        repeats=15 if on_gpu else 2 if smallest else 7,
        with_transformers=with_transformers,
    )
    return speed_table(list(rows))


def described(device: torch.device) -> str:
    """The machine, in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}"


def main() -> int:
    """Run everything; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--smallest", action="store_true", help="two families and few repetitions: a test of the script"
    )
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # tensors this small are slower on several
    started = time.monotonic()
    print(f"## On {described(device)}\n")
    outcomes = []
    for outcome in checks(device, smallest=options.smallest):
        print(outcome, flush=True)
        outcomes.append(outcome)
    n_failed = sum(outcome.passed is False for outcome in outcomes)
    print(f"\n{len(outcomes)} checks, {n_failed} failed, {time.monotonic() - started:.0f} s\n")
    print("\n".join(speeds(device, smallest=options.smallest)))
    print(f"\n{time.monotonic() - started:.0f} s in all")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
