"""Mixtures of experts: ours against `transformers`, and what recording and the node table take.

Run as `python -m benchmarks.bench_experts`. The model has OLMoE's proportions at a quarter of its width (64 experts of
256 neurons, 8 of them chosen, 8 layers), with random weights. `transformers` runs with each of its implementations of
experts."""

import argparse
import time
from typing import Any

import torch
import transformers

import neuron_explainer as ne
from benchmarks.measure import median_seconds, print_ratio
from benchmarks.passes import NODE_TABLE, NODE_TABLE_LOSS, our_passes, their_pass
from benchmarks.shapes import random_models_of_both
from neuron_explainer.activations.derived_scalars.derivation import BatchDeriver

OLMOE_QUARTER: dict[str, Any] = {
    "model_type": "olmoe",
    "hidden_size": 512,
    "intermediate_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 4096,
    "vocab_size": 50304,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def speed(n_tokens: int, options: argparse.Namespace) -> None:
    theirs, ours = random_models_of_both(OLMOE_QUARTER, "cpu", torch.float32)
    tokens = torch.randint(0, 50304, (1, n_tokens))
    context = ne.StandardModelContext("experts", ours)
    table = BatchDeriver(context, NODE_TABLE, loss=NODE_TABLE_LOSS)
    functions = {**our_passes(ours, tokens), "node table": lambda: table.run(tokens)}
    for kind in ("eager", "grouped_mm"):

        def run(kind: str = kind) -> object:
            theirs.set_experts_implementation(kind)
            return their_pass(theirs, tokens)()

        functions[f"transformers, {kind}"] = run
    seconds = median_seconds(functions, repeats=options.repeats, clock=options.clock)
    plain = seconds["plain"]
    print(f"{n_tokens} tokens: plain forward {plain * 1e3:.0f} ms")
    for kind in ("eager", "grouped_mm"):
        print_ratio(
            f"{n_tokens} tokens: plain forward / transformers, {kind}", plain / seconds[f"transformers, {kind}"]
        )
    for name in ("one place", "everything", "gradients", "node table"):
        print_ratio(f"{n_tokens} tokens: {name} / plain", seconds[name] / plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tokens", type=int, nargs="*", default=[1, 64, 256])
    parser.add_argument(
        "--processor-time", action="store_true", help="count the processor's seconds: for a busy machine"
    )
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    options.clock = time.process_time if options.processor_time else time.perf_counter
    for n_tokens in options.tokens:
        speed(n_tokens, options)


if __name__ == "__main__":
    main()
