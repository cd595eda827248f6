"""Patching all layers × positions of the residual stream: TransformerLens' function beside `ne.patch`."""

from collections.abc import Callable
from pathlib import Path

import torch

import neuron_explainer as ne
from benchmarks.bench_patching import ANSWERS, CLEAN, CORRUPTED
from benchmarks.measure import interleaved_seconds, median_ratio, print_ratio
from benchmarks.peers.transformer_lens_peer import Peer

MOST_APART = 1e-3
"""As a share of the largest effect: both go through the whole model once more for each patch."""


def patching(folder: Path, repeats: int, clock: Callable[[], float]) -> None:
    """A prompt of 16 tokens, after a check that both give the same numbers."""
    from transformer_lens.patching import get_act_patch_resid_pre

    lens, model = Peer(folder, 16).lens, ne.load_model(folder, device="cpu")
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
    if not apart <= MOST_APART * values.abs().max():
        raise SystemExit(f"TransformerLens gives other numbers: at most {float(apart):.1e} apart.")
    print(f"patching {model.n_layers} layers × {clean.shape[1]} positions; the largest difference: {apart:.1e}")
    seconds = interleaved_seconds({"theirs": theirs, "ours": ours}, repeats=repeats, warm_up=0, clock=clock)
    for name, times in seconds.items():
        print(f"{name}: {min(times):.2f} to {max(times):.2f} s")
    print_ratio("TransformerLens / ours: above 1 asked for", median_ratio(seconds["theirs"], seconds["ours"]))
