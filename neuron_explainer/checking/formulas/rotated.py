"""The rotary embedding by complex numbers: each pair of channels is one, and its rotation a product."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuron_explainer.models.rotary_config import RotaryConfig


def rotated(config: RotaryConfig, heads: Tensor, n_tokens: int) -> Tensor:
    """Queries or keys at positions from 0 on, rotated.

    Args:
        config: the rotary embedding.
        heads: (batch, tokens, heads, d_head).
        n_tokens: how many tokens the pass has, padding included.
    """
    n = config.n_channels
    turning, rest = heads[..., :n], heads[..., n:]
    if config.is_interleaved:
        pairs = torch.complex(turning[..., 0::2].contiguous(), turning[..., 1::2].contiguous())
    else:
        pairs = torch.complex(turning[..., : n // 2].contiguous(), turning[..., n // 2 :].contiguous())
    position = torch.arange(heads.shape[1], dtype=torch.float64, device="cpu")
    speed = torch.tensor(angles_of(config, n_tokens), dtype=torch.float64, device="cpu")
    angle = position[:, None] * speed
    size = torch.full_like(angle, config.attention_factor)
    turned = pairs * torch.polar(size, angle).to(device=pairs.device, dtype=pairs.dtype)[:, None]
    parts = (turned.real, turned.imag)
    joined = torch.stack(parts, -1).flatten(-2) if config.is_interleaved else torch.cat(parts, -1)
    return torch.cat((joined, rest), -1)


def angles_of(config: RotaryConfig, n_tokens: int) -> list[float]:
    """By how many radians a position turns each pair, in a pass of so many tokens."""
    n, speeds = config.n_channels, []
    for pair in range(n // 2):
        plain = config.base ** (-2 * pair / n)
        speeds.append(plain * _slowed(config, pair, plain, n_tokens))
    return speeds


def _slowed(config: RotaryConfig, pair: int, speed: float, n_tokens: int) -> float:
    """The factor by which a pair turns more slowly, for contexts longer than those of the training."""
    match config.scaling:
        case None:
            return 1.0
        case "linear":
            return 1 / config.factor
        case "longrope":
            is_long = n_tokens > config.original_context_length
            return 1 / (config.long_factors if is_long else config.short_factors)[pair]
        case "llama3":
            turns = config.original_context_length * speed / (2 * math.pi)
            low, high = config.low_frequency_factor, config.high_frequency_factor
            kept = min(1.0, max(0.0, (turns - low) / (high - low)))
        case "yarn":
            kept = 1 - _step(config, pair)
    return kept + (1 - kept) / config.factor


def _step(config: RotaryConfig, pair: int) -> float:
    """How far a pair is between those that YaRN leaves and those that it slows by the whole factor."""

    def pair_of(turns: float) -> float:
        wavelength = config.original_context_length / turns
        return config.n_channels / 2 * math.log(wavelength / (2 * math.pi), config.base)

    first, last = pair_of(config.high_frequency_factor), pair_of(config.low_frequency_factor)
    if config.rounds_step:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, config.n_channels - 1)
    width = last - first if last != first else 0.001
    return min(1.0, max(0.0, (pair - first) / width))
