"""Patching all layers × positions of a 16-token prompt, against a loop of one full pass for each patch, in one run.

Run as `python -m benchmarks.bench_patching`; set OMP_NUM_THREADS to say how many cores. The model is SmolLM2-135M.
`--processor-time` counts the processor's seconds instead (with one thread), on a busy machine.
"""

import argparse
import time
from collections.abc import Callable

import torch

import neuron_explainer as ne
from benchmarks.measure import interleaved_seconds, median_ratio, print_ratio

CLEAN = "When Mary and John went to the store this morning, John gave the bag to"
CORRUPTED = "When Mary and John went to the store this morning, Mary gave the bag to"
ANSWERS = (" Mary", " John")


def by_a_loop(model: ne.StandardModelContext) -> torch.Tensor:
    """The same by hand: the clean run is recorded, and each patch is a pass of the whole model."""
    transformer = model.get_or_create_model()
    clean, corrupted = model.to_tokens(CLEAN), model.to_tokens(CORRUPTED)
    first, second = (model.to_tokens(answer)[0, -1] for answer in ANSWERS)
    with transformer.record(["resid_post_embedding", "resid_post_mlp"]) as recording:
        transformer(clean, logits_at=None)
    found = torch.empty(model.n_layers, clean.shape[1])
    for layer in range(model.n_layers):
        place, below = ("resid_post_mlp", layer - 1) if layer else ("resid_post_embedding", None)
        for position in range(clean.shape[1]):
            source = recording[place, below][:, position]

            def write(tensor: torch.Tensor, position: int = position, source: torch.Tensor = source) -> torch.Tensor:
                tensor[:, position] = source
                return tensor

            with transformer.intervene(place, below, write, notes_change=False):
                logits = transformer(corrupted, logits_at="last")[0, 0]
            found[layer, position] = logits[first] - logits[second]
    return found


def main(repeats: int, clock: Callable[[], float]) -> None:
    """Measure, after a check that both ways give the same numbers."""
    model = ne.load_model("smollm2-135m", device="cpu")
    n_tokens = model.to_tokens(CLEAN).shape[1]
    patched = ne.patch(model, CLEAN, CORRUPTED, ANSWERS, progress=False)
    difference = (torch.tensor(patched.values).view(model.n_layers, n_tokens) - by_a_loop(model)).abs().max()
    print(f"{n_tokens} tokens, {model.n_layers} layers; the largest difference of the two ways: {difference:.1e}")
    seconds = interleaved_seconds(
        {
            "patch": lambda: ne.patch(model, CLEAN, CORRUPTED, ANSWERS, progress=False),
            "loop": lambda: by_a_loop(model),
            "gradient": lambda: ne.patch(model, CLEAN, CORRUPTED, ANSWERS, method="gradient", check=0, progress=False),
        },
        repeats=repeats,
        warm_up=0,
        clock=clock,
    )
    for name, times in seconds.items():
        print(f"{name}: {min(times):.2f} to {max(times):.2f} s")
    ratio = median_ratio(seconds["loop"], seconds["patch"])
    print_ratio("loop / patch: at least 3 times as fast asked for", ratio)
    print_ratio("patch / gradient", median_ratio(seconds["patch"], seconds["gradient"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    main(options.repeats, time.process_time if options.processor_time else time.perf_counter)
