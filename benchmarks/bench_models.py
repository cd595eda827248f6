"""Forward passes of GPT-2 small's shape: ours against `transformers`, recording against not recording.

Run as `python -m benchmarks.bench_models`; set OMP_NUM_THREADS to say how many cores. Weights are random. Beside it,
TransformerLens (where installed) doing the same. On a GPU everything is measured once more in bfloat16.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import transformers

from benchmarks.measure import median_seconds, print_ratio, resident_bytes, start_peak_anew, until_done
from benchmarks.passes import P, loss_of, our_passes, recorded, their_pass
from benchmarks.shapes import GPT2_SMALL, random_model, random_models_of_both


def transformer_lens_model(device: torch.device, dtype: torch.dtype) -> Any:
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=12,
        d_model=768,
        n_ctx=1024,
        d_head=64,
        n_heads=12,
        d_mlp=3072,
        d_vocab=50257,
        act_fn="gelu_new",
        normalization_type="LN",
        device=str(device),
        dtype=dtype,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its successor wraps a downloaded model
        return HookedTransformer(config).eval()


def lens_with_gradients(model: Any, tokens: torch.Tensor) -> Any:
    cache, forward_hooks, backward_hooks = model.get_caching_hooks(incl_bwd=True)
    with model.hooks(fwd_hooks=forward_hooks, bwd_hooks=backward_hooks):
        loss_of(model(tokens)).backward()
    model.zero_grad()
    return cache


def speed(n_tokens: int, device: torch.device, dtype: torch.dtype, options: argparse.Namespace) -> None:
    theirs, ours = random_models_of_both(GPT2_SMALL, device, dtype)
    tokens = torch.randint(0, 50257, (1, n_tokens), device=device)
    functions = {"transformers": their_pass(theirs, tokens), **our_passes(ours, tokens)}
    if options.with_lens:
        lens = transformer_lens_model(device, dtype)

        def lens_plain() -> object:
            with torch.no_grad():
                return lens(tokens)

        def lens_everything() -> object:
            with torch.no_grad():
                return lens.run_with_cache(tokens)

        functions["TransformerLens plain"] = lens_plain
        functions["TransformerLens everything"] = lens_everything
        functions["TransformerLens gradients"] = lambda: lens_with_gradients(lens, tokens)
    seconds = median_seconds(
        {name: until_done(fn, device) for name, fn in functions.items()}, repeats=options.repeats, clock=options.clock
    )
    kind = f"{n_tokens} tokens, {device.type} {str(dtype).removeprefix('torch.')}"
    print(f"{kind}: plain forward {seconds['plain'] * 1e3:.1f} ms")
    plain = seconds["plain"]
    print_ratio(f"{kind}: plain forward / transformers", plain / seconds["transformers"], 1.05)
    print_ratio(f"{kind}: recording one place in all layers / plain", seconds["one place"] / plain, 1.05)
    print_ratio(f"{kind}: recording everything / plain", seconds["everything"] / plain, 1.2)
    print_ratio(f"{kind}: recording everything and its gradients / plain", seconds["gradients"] / plain, 3.0)
    for name in ("plain", "everything", "gradients"):
        if f"TransformerLens {name}" in seconds:
            print_ratio(f"{kind}: TransformerLens {name} / our plain", seconds[f"TransformerLens {name}"] / plain)


def peak_bytes(function: Callable[[], object]) -> int:
    """The largest resident size while a function runs."""
    start_peak_anew()
    function()
    return resident_bytes("VmHWM")


def memory(n_tokens: int) -> None:
    """Peak memory on the CPU, beyond what the process took before the model was made."""
    before = resident_bytes("VmRSS")
    model = random_model(GPT2_SMALL, "cpu", torch.float32)
    tokens = torch.randint(0, 50257, (1, n_tokens))
    sizes: list[int] = []

    def recording_of(place: P) -> Callable[[], object]:
        def run() -> None:
            recording = recorded(model, tokens, [place])
            sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in recording.values()))

        return run

    model(tokens)
    plain = min(peak_bytes(lambda: model(tokens)) for _ in range(3)) - before
    print(f"{n_tokens} tokens: plain forward peaks at {plain / 2**20:.0f} MiB, weights included")
    for place in (P.MLP_POST_ACT, P.ATTN_VALUE, P.ATTN_QK_PROBS, P.RESID_POST_MLP):
        peak = min(peak_bytes(recording_of(place)) for _ in range(3)) - before
        print_ratio(
            f"{n_tokens} tokens: peak memory recording {place.value} / (plain + recorded)",
            peak / (plain + sizes[-1]),
            1.1,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tokens", type=int, nargs="*", default=[64, 512])
    parser.add_argument("--without-transformer-lens", action="store_true")
    parser.add_argument(
        "--processor-time", action="store_true", help="count the processor's seconds: for a busy machine"
    )
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    is_installed = importlib.util.find_spec("transformer_lens") is not None
    options.with_lens = is_installed and not options.without_transformer_lens
    options.clock = time.process_time if options.processor_time else time.perf_counter
    memory(512)
    for n_tokens in options.tokens:
        speed(n_tokens, torch.device("cpu"), torch.float32, options)
        if torch.cuda.is_available():
            speed(n_tokens, torch.device("cuda"), torch.bfloat16, options)


if __name__ == "__main__":
    main()
