"""State dicts as OpenAI's autoencoder files hold them."""

from typing import Any

import torch

N_INPUTS, N_LATENTS = 4, 6


def state_dict(seed: int = 0, **others: Any) -> dict[str, Any]:
    """Random weights, and whatever else a file may hold."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "encoder.weight": random(N_LATENTS, N_INPUTS),
        "decoder.weight": random(N_INPUTS, N_LATENTS),
        "pre_bias": random(N_INPUTS),
        "latent_bias": random(N_LATENTS),
        **others,
    }
