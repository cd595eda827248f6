"""What a model with `offload="disk"` costs: memory, and time beside the same model in memory.

Memory is measured in a process for each piece of work, since a process's peak memory never goes down.

Usage:
    python -m benchmarks.bench_offload                       GPT-2-small shape (random weights)
    python -m benchmarks.bench_offload --measure PATH WORK HOW   the peak memory of one piece of work, as JSON
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

import neuron_explainer as ne
from benchmarks.measure import resident_bytes, start_peak_anew

N_TOKENS = 32
TARGET_LAYERS = 3


def run_forward(model: ne.StandardModelContext) -> None:
    model.get_or_create_model()(tokens(model))


def run_record(model: ne.StandardModelContext) -> None:
    """One place of every layer, and the gradient with respect to it."""
    with model.record("resid_post_mlp", gradients=True) as recording:
        logits = model.get_or_create_model()(tokens(model))
        recording.backward(logits[0, -1, 5])


def run_derive(model: ne.StandardModelContext) -> None:
    """Activation times gradient, which needs a backward pass, and norms of writes, which need weights."""
    ne.derive(tokens(model), ["mlp_act_times_grad", "mlp_write_norm"], model, loss=lambda logits: logits[-1, 5])


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


def tokens(model: ne.StandardModelContext) -> torch.Tensor:
    """One prompt."""
    return torch.arange(N_TOKENS)[None] + 3


def measure(path: str, work: str, how: str) -> dict[str, float]:
    """Do a piece of work once; return how far the resident memory rose, in bytes.

    Args:
        path: a folder with a model.
        work: what is done with it; see `WORK`.
        how: "disk" or "memory".
    """
    WORK[work](ne.load_model("tiny", device="cpu"))  # what is imported at first use is not counted
    before = resident_bytes("VmRSS")
    start_peak_anew()
    model = ne.load_model(path, device="cpu", offload="disk" if how == "disk" else None)
    WORK[work](model)
    return {"rose": resident_bytes("VmHWM") - before}


def measured(path: Path, work: str, how: str) -> float:
    """How far the memory of a fresh process rises, in bytes."""
    command = [sys.executable, "-m", "benchmarks.bench_offload", "--measure", str(path), work, how]
    done = subprocess.run(command, check=True, capture_output=True)
    rose: float = json.loads(done.stdout.splitlines()[-1])["rose"]
    return rose


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
