"""How long passes take beside a plain forward pass of `transformers`: medians of the ratios of interleaved rounds."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

import neuron_explainer as ne
from benchmarks.measure import interleaved_seconds, median_ratio, until_done
from benchmarks.passes import NODE_TABLE, NODE_TABLE_LOSS, our_passes, their_pass
from benchmarks.shapes import random_model, random_models_of_both


@dataclass(frozen=True)
class SpeedRow:
    """The times of one shape at one length, in rounds, by the name of the pass."""

    shape: str
    n_tokens: int
    seconds: dict[str, list[float]]

    @property
    def base(self) -> str:
        """What the others are divided by: `transformers`, or our own plain pass where it is missing."""
        return "transformers" if "transformers" in self.seconds else "plain"

    def cells(self) -> list[str]:
        """The row's cells in the report's table."""
        milliseconds = statistics.median(self.seconds[self.base]) * 1e3
        ratios = [median_ratio(self.seconds[name], self.seconds[self.base]) for name in COLUMNS]
        return [self.shape, str(self.n_tokens), f"{milliseconds:.2f} ms", *(f"{ratio:.2f}" for ratio in ratios)]


COLUMNS = {
    "plain": "plain",
    "one place": "one place recorded",
    "everything": "everything recorded",
    "gradients": "and its gradients",
    "node table": "node table",
}


def measure_speed(
    shapes: dict[str, dict[str, Any]],
    lengths: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    repeats: int,
    with_transformers: bool,
) -> Iterator[SpeedRow]:
    """Time every pass at every shape and length; models have random weights."""
    for shape, entries in shapes.items():
        theirs = None
        if with_transformers:
            theirs, model = random_models_of_both(entries, device, dtype)
        else:
            model = random_model(entries, device, dtype)
        context = ne.StandardModelContext(f"{shape}, random weights", model)
        config = ne.DstConfig(model_context=context)
        for n_tokens in lengths:
            prompt = torch.randint(0, model.config.vocab_size, (n_tokens,)).tolist()
            tokens = torch.tensor([prompt], device=device)
            functions: dict[str, Callable[[], object]] = (
                {} if theirs is None else {"transformers": their_pass(theirs, tokens)}
            )
            functions |= our_passes(model, tokens)
            functions["node table"] = partial(ne.derive, prompt, NODE_TABLE, config, loss=NODE_TABLE_LOSS)
            waiting = {name: until_done(function, device) for name, function in functions.items()}
            yield SpeedRow(shape, n_tokens, interleaved_seconds(waiting, repeats=repeats))


def speed_table(rows: Sequence[SpeedRow]) -> list[str]:
    """The rows as lines of a Markdown table."""
    base = "`transformers`" if all(row.base == "transformers" for row in rows) else "plain"
    titles = ["shape", "tokens", f"{base}, plain pass", *(f"{name} / {base}" for name in COLUMNS.values())]
    lines = [titles, ["---"] * len(titles), *(row.cells() for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
