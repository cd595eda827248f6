"""What a model with `offload="disk"` costs: memory, and time beside the same model in memory.

Memory is how far a process's resident memory rises while a model is opened and used, in a process of its own.

Usage:
    python -m benchmarks.bench_offload                       GPT-2-small shape (random weights)
    python -m benchmarks.bench_offload --measure PATH disk forward …   how far the memory rises, as JSON
"""

import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

import neuron_explainer as ne
from benchmarks.bench_loading import write_gpt2
from benchmarks.measure import interleaved_seconds, median_ratio, print_ratio, resident_bytes, start_peak_anew
from neuron_explainer.models.transformer import Transformer

N_TOKENS = 32
PROMPT = torch.arange(N_TOKENS)[None] + 3
TARGET_LAYERS = 3


def run_forward(model: ne.StandardModelContext) -> None:
    model.get_or_create_model()(PROMPT)


def run_record(model: ne.StandardModelContext) -> None:
    """One place of every layer, and the gradient with respect to it."""
    with model.record("resid_post_mlp", gradients=True) as recording:
        logits = model.get_or_create_model()(PROMPT)
        recording.backward(logits[0, -1, 5])


def run_derive(model: ne.StandardModelContext) -> None:
    """Activation times gradient, which needs a backward pass, and norms of writes, which need weights."""
    ne.derive(PROMPT, ["mlp_act_times_grad", "mlp_write_norm"], model, loss=lambda logits: logits[-1, 5])


def run_collate(model: ne.StandardModelContext) -> None:
    texts = [" ".join(f"token{number}" for number in range(first, first + N_TOKENS)) for first in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        ne.collate(
            model, texts, Path(folder) / "dataset", layers=[0, model.n_layers - 1], context_length=N_TOKENS,
            top_k=1, random_k=1, quantiles=0, progress=False,
        )  # fmt: skip


WORK: dict[str, Callable[[ne.StandardModelContext], None]] = {
    "forward": run_forward,
    "record": run_record,
    "derive": run_derive,
    "collate": run_collate,
}


def measure(path: str, how: str, *names: str) -> dict[str, float]:
    """Do pieces of work, each with a model of its own; return how far the resident memory rose each time, in bytes.

    Of weights in memory only the first counts: the next ones may get the same memory again.

    Args:
        path: a folder with a model.
        how: "disk" or "memory".
        names: which work, of `WORK`.
    """
    tiny = ne.load_model("tiny", device="cpu")
    rose = {}
    for name in names:
        work = WORK[name]
        work(tiny)  # what is imported at first use is not counted
        before = resident_bytes("VmRSS")
        start_peak_anew()
        work(ne.load_model(path, device="cpu", offload="disk" if how == "disk" else None))
        rose[name] = float(resident_bytes("VmHWM") - before)
        gc.collect()
    return rose


def measured(path: Path, how: str, *names: str) -> dict[str, float]:
    """How far the memory of a fresh process rises for each piece of work, in bytes."""
    command = [sys.executable, "-m", "benchmarks.bench_offload", "--measure", str(path), how, *names]
    done = subprocess.run(command, check=True, capture_output=True)
    rose: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return rose


def largest_bytes(model: Transformer) -> tuple[int, int, int]:
    """What all weights, the largest layer and the embedding take, in bytes."""
    layers = [sum(weight.nbytes for weight in block.parameters()) for block in model.blocks]
    return sum(weight.nbytes for weight in model.parameters()), max(layers), model.embedding.nbytes


def print_times(path: Path) -> None:
    """How long passes take beside those of the same model in memory; the files are in the system's cache."""
    on_disk, in_memory = (ne.load_model(path, device="cpu", offload=offload) for offload in ("disk", None))
    for name in ("forward", "record"):
        seconds = interleaved_seconds(
            {"disk": lambda: WORK[name](on_disk), "memory": lambda: WORK[name](in_memory)},  # noqa: B023  (called here)
            repeats=7,
        )
        print_ratio(f"{name}: on disk / in memory, {N_TOKENS} tokens", median_ratio(seconds["disk"], seconds["memory"]))


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_gpt2(Path(temporary), vocab_size=20_000)
        whole, layer, embedding = largest_bytes(ne.load_model(folder, device="cpu").get_or_create_model())
        print(f"weights {whole / 1e6:.0f} MB, a layer {layer / 1e6:.0f} MB, the embedding {embedding / 1e6:.0f} MB")
        for name in WORK:
            on_disk, in_memory = (measured(folder, how, name)[name] for how in ("disk", "memory"))
            print_ratio(f"{name}: memory on disk / in memory", on_disk / in_memory)
            print_ratio(f"{name}: (memory - embedding) / a layer", (on_disk - embedding) / layer, TARGET_LAYERS)
        print_times(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main()
