"""A process with one side: it makes all dashboards when a line of standard input asks for them.

python -m benchmarks.dashboards.worker ours|theirs FOLDER
"""

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.line_process import answer_lines, own_answers


def done(side: Any, what: str, whole_sequences: bool) -> Any:
    """The time of all dashboards, or of our model's passes alone; their memory; or each latent's largest activation."""
    from benchmarks.measure import memory_of, taken_by

    if what == "maxima":
        return side.maxima()
    if what == "passes":
        return taken_by(side.passes)
    return {"time": taken_by, "peak": memory_of}[what](partial(side.run, whole_sequences))


def main() -> None:
    """Load, say so, then answer."""
    answers = own_answers()
    side = importlib.import_module(f"benchmarks.dashboards.{sys.argv[1]}").Side(Path(sys.argv[2]))
    print(json.dumps("ready"), file=answers, flush=True)
    answer_lines(partial(done, side), answers)


if __name__ == "__main__":
    main()
