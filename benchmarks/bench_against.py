"""This checkout against another one: the same work in two processes that take turns, as ratios of times.

    git worktree add ../before SOME_COMMIT
    python -m benchmarks.bench_against ../before

Each process runs on one thread and imports the package from its own checkout. One works while the other waits, and
which begins changes every round, so a machine that slows down slows both.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.line_process import REPOSITORY, LineProcess, threads
from benchmarks.measure import median_ratio, print_ratio

MOST = 1.03
PROMPT = "And the LORD said unto Moses, Go in unto Pharaoh"


def work() -> dict[str, Callable[[], object]]:
    """What is timed, by name; only what older checkouts have too is used."""
    import torch

    import neuron_explainer as ne
    from benchmarks.passes import NODE_TABLE_LOSS, recorded, with_gradients
    from benchmarks.shapes import GPT2_SMALL, random_model

    torch.manual_seed(0)
    model = random_model(GPT2_SMALL, "cpu", torch.float32)
    tokens = {n: torch.randint(0, 50257, (1, n)) for n in (16, 128)}
    tiny = ne.load_model("tiny")
    config = ne.DstConfig(model_context=tiny, derive_gradients=True)
    in_shape = ne.DstConfig(model_context=ne.StandardModelContext("random", model), derive_gradients=True)
    place = ne.ActivationLocationType.MLP_POST_ACT
    loss = ne.LossFnConfig(ne.LossFnName.LOGIT_DIFF, target_tokens=[" the"], distractor_tokens=[" a"])

    def plain(n_tokens: int) -> object:
        with torch.no_grad():
            return model(tokens[n_tokens])

    def one_place() -> object:
        with torch.no_grad():
            return recorded(model, tokens[128], [place])

    return {
        "plain forward, 16 tokens": lambda: plain(16),
        "plain forward, 128 tokens": lambda: plain(128),
        "recording one place, 128 tokens": one_place,
        "recording everything and gradients, 16 tokens": lambda: with_gradients(model, tokens[16]),
        "derive, 16 tokens": lambda: ne.derive(
            tokens[16][0].tolist(), ["mlp_act_times_grad", "attn_write_norm"], in_shape, loss=NODE_TABLE_LOSS
        ),
        "derive, tiny": lambda: ne.derive(PROMPT, ["mlp_act_times_grad", "attn_write_norm"], config, loss=loss),
        "generate 8 tokens, tiny": lambda: tiny.generate(PROMPT, max_new_tokens=8),
        "live record of a neuron, tiny": lambda: ne.live_record(tiny, 1, 7, [PROMPT] * 4),
    }


def serve() -> None:
    """Time the functions that standard input names, one line each; print each one's seconds."""
    functions = work()
    print(*functions, sep="\t", flush=True)
    gc.freeze()
    for line in sys.stdin:
        function = functions[line.rstrip("\n")]
        gc.collect()
        gc.disable()
        start = time.process_time()
        function()
        print(time.process_time() - start, flush=True)
        gc.enable()


class Worker(LineProcess):
    """A process that runs one checkout's code."""

    def __init__(self, checkout: Path) -> None:
        command = [sys.executable, Path(__file__).resolve(), "--serve"]
        super().__init__(command, checkout, threads(1))
        self.names = self.line().split("\t")

    def seconds(self, name: str) -> float:
        """The processor's seconds of one call."""
        return float(self.ask(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.before is None:
        parser.error("name the other checkout")
    now, before = Worker(REPOSITORY), Worker(options.before.resolve())
    print("processor time of this checkout / of the other one, one thread, medians of pairs")
    for name in now.names:
        times: dict[Worker, list[float]] = {now: [], before: []}
        for repeat in range(-2, options.repeats):
            for worker in (now, before) if repeat % 2 else (before, now):
                elapsed = worker.seconds(name)
                if repeat >= 0:
                    times[worker].append(elapsed)
        milliseconds = statistics.median(times[now]) * 1e3
        print_ratio(f"{name} ({milliseconds:.1f} ms)", median_ratio(times[now], times[before]), MOST)
    now.close()
    before.close()


if __name__ == "__main__":
    main()
