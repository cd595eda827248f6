"""A process with one tool and one model: it does a job when a line of standard input names it.

    python -m benchmarks.peers.worker TOOL FOLDER N_TOKENS [--first]

It imports nothing of this library unless the tool is this library. What tools print goes to standard error.
"""

import argparse
import importlib
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.line_process import answer_lines, own_answers

TOOLS = {
    "ours": "benchmarks.peers.ours",
    "TransformerLens": "benchmarks.peers.transformer_lens_peer",
    "nnsight": "benchmarks.peers.nnsight_peer",
    "interp-engine": "benchmarks.peers.interp_engine_peer",
}


def saved(tool: Any, job: str, path: str) -> dict[str, float]:
    """The job's numbers, in a file."""
    from safetensors.torch import save_file

    from benchmarks.peers.tool import run

    numbers = tool.numbers(job, run(tool, job))
    save_file({kind: tensor.detach().contiguous() for kind, tensor in numbers.items()}, path)
    return {}


def done(tool: Any, what: str, job: str, path: str = "") -> dict[str, float]:
    """A job timed, its memory measured, or its numbers saved."""
    from benchmarks.measure import memory_of, taken_by
    from benchmarks.peers.tool import run

    if what == "save":
        return saved(tool, job, path)
    return {"time": taken_by, "peak": memory_of}[what](partial(run, tool, job))


def main() -> None:
    """Load, say so with what it took, then answer each line with a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_tokens", type=int)
    parser.add_argument("--first", action="store_true", help="do a plain pass before saying so, and end")
    options = parser.parse_args()
    answers = own_answers()
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
    answer_lines(partial(done, tool), answers)


if __name__ == "__main__":
    main()
