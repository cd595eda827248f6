"""Rotary position embedding (Su et al. 2021): pairs of channels rotated by angles that depend on the position."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.models.transformer_config import RotaryConfig


def inverse_frequencies(config: RotaryConfig) -> Float[Tensor, " pairs"]:
    """The angle by which each pair of channels is rotated per position, in radians, float32.

    Llama 3's rule stretches wavelengths above original_context_length / low_frequency_factor by `factor`, keeps those
    below original_context_length / high_frequency_factor, and interpolates between.
    """
    exponents = torch.arange(0, config.n_channels, 2, dtype=torch.float32, device="cpu") / config.n_channels
    frequencies = 1.0 / (config.base**exponents)
    if config.scaling is None:
        return frequencies
    stretched = frequencies / config.factor
    if config.scaling == "linear":
        return stretched
    rotations = config.original_context_length / (2 * math.pi / frequencies)
    low, high = config.low_frequency_factor, config.high_frequency_factor
    share_kept = (rotations - low) / (high - low)
    smooth = (1 - share_kept) * stretched + share_kept * frequencies
    return torch.where(rotations < low, stretched, torch.where(rotations > high, frequencies, smooth))


class RotaryEmbedding:
    """Cosines and sines by position, made when first needed and kept by dtype and device.

    The angles are float32 in models of every dtype, as in the models' training.
    """

    def __init__(self, config: RotaryConfig) -> None:
        self.n_channels = config.n_channels
        self._frequencies = inverse_frequencies(config)
        self._tables: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def tables(
        self, n_positions: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[Float[Tensor, "positions channels"], Float[Tensor, "positions channels"]]:
        """Cosines and sines of the positions from 0 to at least `n_positions` - 1."""
        tables = self._tables.get((dtype, device))
        if tables is None or len(tables[0]) < n_positions:
            size = max(64, 2 ** math.ceil(math.log2(n_positions)))
            # Tables outlive this pass. What is made in inference mode could not take part in a backward pass.
            with torch.inference_mode(False), torch.no_grad():
                positions = torch.arange(size, dtype=torch.float32, device=device)
                angles = positions[:, None] * self._frequencies.to(device)
                angles = torch.cat((angles, angles), dim=-1)
                tables = angles.cos().to(dtype), angles.sin().to(dtype)
            self._tables[dtype, device] = tables
        return tables

    def rotate(
        self,
        heads: Float[Tensor, "batch tokens heads d_head"],
        cosines: Float[Tensor, "rows tokens 1 channels"],
        sines: Float[Tensor, "rows tokens 1 channels"],
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Queries or keys, rotated; channels beyond the first `n_channels` are unchanged."""
        rotated = heads[..., : self.n_channels]
        first, second = rotated.chunk(2, dim=-1)
        rotated = rotated * cosines + torch.cat((-second, first), dim=-1) * sines
        if self.n_channels == heads.shape[-1]:
            return rotated
        return torch.cat((rotated, heads[..., self.n_channels :]), dim=-1)

    def at(
        self, position_ids: Int[Tensor, "rows tokens"], n_positions: int, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "rows tokens 1 channels"], Float[Tensor, "rows tokens 1 channels"]]:
        """Cosines and sines of the given positions, all below `n_positions`."""
        cosines, sines = self.tables(n_positions, dtype, position_ids.device)
        return cosines[position_ids].unsqueeze(2), sines[position_ids].unsqueeze(2)
