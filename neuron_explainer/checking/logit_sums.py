"""What is differentiated: a sum of the last token's logits, each times a random number."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor


def sum_of_logits(logits: Tensor | None, seed: int) -> Float64[Tensor, " batch"]:
    """The sum for each prompt.

    Args:
        logits: (batch, tokens, vocabulary).
        seed: of the random numbers.
    """
    assert logits is not None
    generator = torch.Generator("cpu").manual_seed(seed)
    weights = torch.randn(logits.shape[-1], generator=generator, dtype=torch.float64, device="cpu")
    # MPS has no float64.
    last = logits[:, -1]
    return last.cpu().double() @ weights if last.device.type == "mps" else last.double() @ weights.to(last.device)
