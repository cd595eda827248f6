"""Deriving scalars at GPT-2 small's shape, against a plain forward pass of the same model in the same run.

Run as `python -m benchmarks.bench_derive`; set OMP_NUM_THREADS to say how many cores. Weights are random. On a GPU the
same in bfloat16. `--processor-time` counts the processor's seconds instead (with one thread), on a busy machine.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.measure import median_seconds, print_ratio, resident_bytes, start_peak_anew, until_done
from benchmarks.passes import NODE_TABLE, NODE_TABLE_LOSS, D
from benchmarks.shapes import GPT2_SMALL, random_model
from neuron_explainer import DstConfig, StandardModelContext, derive

RANKED = [
    D.MLP_ACT_TIMES_GRAD,
    D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.UNFLATTENED_ATTN_ACT_TIMES_GRAD,
    D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
]
FORWARD_ONLY = [D.MLP_POST_ACT, D.MLP_WRITE_NORM, D.RESID_POST_MLP_NORM, D.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN]


def model_context(device: torch.device, dtype: torch.dtype) -> StandardModelContext:
    return StandardModelContext("gpt2-small shape, random weights", random_model(GPT2_SMALL, device, dtype))


def speed(n_tokens: int, repeats: int, clock: Callable[[], float], device: torch.device, dtype: torch.dtype) -> None:
    context = model_context(device, dtype)
    model, config = context.get_or_create_model(), DstConfig(model_context=context)
    prompt = torch.randint(0, 50257, (n_tokens,)).tolist()
    tokens = torch.tensor([prompt])
    store = derive(prompt, NODE_TABLE, config, loss=NODE_TABLE_LOSS)

    functions: dict[str, Callable[[], object]] = {
        "plain": lambda: model(tokens),
        "node table": lambda: derive(prompt, NODE_TABLE, config, loss=NODE_TABLE_LOSS),
        **{dst.value: partial(derive, prompt, dst, config) for dst in FORWARD_ONLY},
        "top 10": lambda: store.topk(10, dsts=RANKED),
        "top and bottom 10": lambda: (store.topk(10, dsts=RANKED), store.topk(10, largest=False, dsts=RANKED)),
    }
    seconds = median_seconds(
        {name: until_done(function, device) for name, function in functions.items()}, repeats=repeats, clock=clock
    )
    kind = f"{n_tokens} tokens, {device.type} {str(dtype).removeprefix('torch.')}"
    plain = seconds["plain"]
    print(f"{kind}: plain forward {plain * 1e3:.1f} ms")
    print_ratio(
        f"{kind}: the node table's 13 types / plain", seconds["node table"] / plain, 3.0 if n_tokens <= 64 else 3.5
    )
    for dst in FORWARD_ONLY:
        print_ratio(f"{kind}: {dst.value} / plain", seconds[dst.value] / plain, 1.1)
    print_ratio(f"{kind}: top 10 of everything / deriving it", seconds["top 10"] / seconds["node table"], 0.05)
    print_ratio(f"{kind}: top and bottom 10 / deriving", seconds["top and bottom 10"] / seconds["node table"])


def peak_memory(n_tokens: int) -> None:
    """Peak resident memory of deriving the node table, above the bare libraries, in a process of its own."""
    context = model_context(torch.device("cpu"), torch.float32)
    model, config = context.get_or_create_model(), DstConfig(model_context=context)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    derive([1, 2, 3], NODE_TABLE, config, loss=NODE_TABLE_LOSS)
    start_peak_anew()
    before = resident_bytes("VmRSS") - weights
    store = derive(torch.randint(0, 50257, (n_tokens,)).tolist(), NODE_TABLE, config, loss=NODE_TABLE_LOSS)
    peak = resident_bytes("VmHWM") - before
    results = sum(
        tensor.numel() * tensor.element_size() for dst in NODE_TABLE for tensor in store.activations(dst).values()
    )
    mebibytes = {"results": results, "weights": weights, "peak": peak}
    print(f"{n_tokens} tokens: " + ", ".join(f"{what} {size / 2**20:.0f} MiB" for what, size in mebibytes.items()))
    print_ratio(f"{n_tokens} tokens: peak memory / (results + weights)", peak / (results + weights), 2.5)
    print_ratio(f"{n_tokens} tokens: (peak - weights) / results", (peak - weights) / results, 2.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tokens", type=int, nargs="*", default=[64, 512])
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--memory-only", action="store_true")
    options = parser.parse_args()
    if options.memory_only:
        peak_memory(512)
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    clock = time.process_time if options.processor_time else time.perf_counter
    for n_tokens in options.tokens:
        speed(n_tokens, options.repeats, clock, torch.device("cpu"), torch.float32)
        if torch.cuda.is_available():
            speed(n_tokens, options.repeats, clock, torch.device("cuda"), torch.bfloat16)
    subprocess.run([sys.executable, "-m", "benchmarks.bench_derive", "--memory-only"], check=True)


if __name__ == "__main__":
    main()
