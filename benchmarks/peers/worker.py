"""A process with one tool and one model: it does a job when a line of standard input names it.

    python -m benchmarks.peers.worker TOOL FOLDER N_TOKENS [--first]

It imports nothing of this library unless the tool is this library. What tools print goes to standard error.
"""

import argparse
import gc
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

TOOLS = {
    "ours": "benchmarks.peers.ours",
    "TransformerLens": "benchmarks.peers.transformer_lens_peer",
    "nnsight": "benchmarks.peers.nnsight_peer",
    "interp-engine": "benchmarks.peers.interp_engine_peer",
}


def timed(tool: Any, job: str) -> dict[str, float]:
    """The wall time and the processor's time of one call, in seconds."""
    from benchmarks.peers.tool import run

    gc.collect()
    gc.disable()
    wall, processor = time.perf_counter(), time.process_time()
    run(tool, job)
    found = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    gc.enable()
    return found


def peak_of(tool: Any, job: str) -> dict[str, float]:
    """Resident memory before a call and at its peak, in bytes."""
    from benchmarks.measure import resident_bytes, start_peak_anew
    from benchmarks.peers.tool import run

    gc.collect()
    start_peak_anew()
    before = resident_bytes("VmRSS")
    result = run(tool, job)
    peak = resident_bytes("VmHWM")
    del result
    return {"before": before, "peak": peak}


def saved(tool: Any, job: str, path: str) -> dict[str, float]:
    """The job's numbers, in a file."""
    import torch

    from benchmarks.peers.tool import run

    numbers = tool.numbers(job, run(tool, job))
    torch.save({kind: tensor.detach().contiguous() for kind, tensor in numbers.items()}, path)
    return {}


def main() -> None:
    """Load, say so with what it took, then answer each line with a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_tokens", type=int)
    parser.add_argument("--first", action="store_true", help="do a plain pass before saying so, and end")
    options = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr
    tool = importlib.import_module(TOOLS[options.tool]).Peer(options.folder, options.n_tokens)
    ready: dict[str, Any] = {"ready": True}
    if options.first:
        from benchmarks.measure import resident_bytes
        from benchmarks.peers.tool import run

        ready["number"] = float(tool.numbers("plain", run(tool, "plain"))["logits"][-1, 0])
        ready["peak"] = resident_bytes("VmHWM")
    ready["processor"] = time.process_time()
    print(json.dumps(ready), file=answers, flush=True)
    if options.first:
        return
    for line in sys.stdin:
        what, job, path = json.loads(line)
        done = saved(tool, job, path) if what == "save" else {"time": timed, "peak": peak_of}[what](tool, job)
        print(json.dumps(done), file=answers, flush=True)


if __name__ == "__main__":
    main()
