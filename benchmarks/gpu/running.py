"""Recording and generating on a GPU: the same as on the CPU, with and without the cache."""

from collections.abc import Iterator, Sequence

import torch

import neuron_explainer as ne
from benchmarks.gpu.checks import Check, relative_error
from benchmarks.passes import EVERYTHING
from benchmarks.small_models import VOCABULARY_SIZE, small_context
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.hooks.recording import Recording

LARGEST_ERROR = 1e-4
"""In float32, for what the forward and the backward pass hold; the CPU's own errors against float64 are below 1e-5."""

PROMPTS = [[5, 17, 3, 44, 17, 20], [9, 8, 7], [1, 2, 3, 4, 5, 6, 7, 8, 60]]


def padded_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of different lengths, padded on the right, and the mask of their tokens."""
    longest = max(map(len, PROMPTS))
    tokens = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in PROMPTS])
    return tokens, torch.arange(longest) < torch.tensor([[len(prompt)] for prompt in PROMPTS])


def recorded_everywhere(family: str, device: torch.device, dtype: torch.dtype) -> Recording:
    """A padded batch's activations at every place, with their gradients."""
    model = small_context(family, device, dtype).get_or_create_model()
    tokens, mask = padded_batch()
    with model.record(EVERYTHING, gradients=True) as recording:
        logits = model(tokens.to(device), attention_mask=mask, logits_at="all")
        assert logits is not None
        rows = torch.arange(len(PROMPTS), device=device)
        last = logits[rows, (mask.sum(1) - 1).to(device)]
        recording.backward((last[:, 7] - last[:, 11]).sum())
    return recording


def check_recording(families: Sequence[str], device: torch.device) -> Iterator[Check]:
    """Record every place, and its gradient, of a padded batch."""
    for family in families:
        expected = recorded_everywhere(family, torch.device("cpu"), torch.float64)
        found = recorded_everywhere(family, device, torch.float32)
        errors = {
            f"{what} at {place.value}, layer {layer}": relative_error(of(found), of(expected))
            for place, layer in expected
            for what, of in {
                "activation": lambda recording, key=(place, layer): recording[key],
                "gradient": lambda recording, key=(place, layer): recording.gradient(*key),
            }.items()
        }
        worst = max(errors, key=lambda name: errors[name])
        detail = f"{len(errors)} tensors; largest error {errors[worst]:.1e} ({worst}), at most {LARGEST_ERROR:.0e}"
        yield Check(f"recording, {family}, float32", errors[worst] <= LARGEST_ERROR, detail)


def check_generating(families: Sequence[str], device: torch.device) -> Iterator[Check]:
    """Generate with and without the cache, and by chance with a seed."""
    for family in families:
        on_cpu = small_context(family).get_or_create_model()
        model = small_context(family, device).get_or_create_model()
        expected = generate(on_cpu, PROMPTS, max_new_tokens=12)
        sampling = ne.Sampling(temperature=1.0, top_k=20, top_p=0.9, seed=3)
        first, again = (generate(model, PROMPTS, max_new_tokens=12, sampling=sampling) for _ in range(2))
        in_bfloat16 = small_context(family, device, torch.bfloat16).get_or_create_model()
        written = generate(in_bfloat16, PROMPTS, max_new_tokens=12, sampling=sampling)
        wrong = [
            what
            for what, holds in {
                "with the cache as on the CPU": generate(model, PROMPTS, max_new_tokens=12) == expected,
                "without it too": generate(model, PROMPTS, max_new_tokens=12, use_cache=False) == expected,
                "sampled the same with the same seed": first == again,
                "in bfloat16": all(0 <= token < VOCABULARY_SIZE for text in written for token in text),
            }.items()
            if not holds
        ]
        detail = f"not {', not '.join(wrong)}" if wrong else f"{len(PROMPTS)} prompts, 12 tokens each"
        yield Check(f"generating, {family}", not wrong, detail)
