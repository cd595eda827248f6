"""Rotary position embedding (Su et al. 2021): pairs of channels rotated by angles that depend on the position."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.models.rotary_config import RotaryConfig


def inverse_frequencies(config: RotaryConfig, n_positions: int = 1) -> Float[Tensor, " pairs"]:
    """The angle by which each pair of channels is rotated per position, in radians, float32.

    Llama 3's rule stretches wavelengths above original_context_length / low_frequency_factor by `factor`, keeps those
    below original_context_length / high_frequency_factor, and interpolates between. YaRN's does so by the number of the
    pair instead.

    Args:
        config: the rotary embedding.
        n_positions: how many positions the pass has; longrope has other factors for long ones.
    """
    exponents = torch.arange(0, config.n_channels, 2, dtype=torch.float32, device="cpu") / config.n_channels
    frequencies = 1.0 / (config.base**exponents)
    match config.scaling:
        case None:
            return frequencies
        case "longrope":
            factors = config.long_factors if config.is_long(n_positions) else config.short_factors
            return 1.0 / (torch.tensor(factors, dtype=torch.float32, device="cpu") * config.base**exponents)
        case "linear":
            return frequencies / config.factor
        # The order of the operations below is `transformers`': another one gives other last digits in float32.
        case "llama3":
            share_kept = _share_kept_by_llama3(config, frequencies)
            return (1 - share_kept) * frequencies / config.factor + share_kept * frequencies
        case "yarn":
            share_kept = _share_kept_by_yarn(config)
            stretched = 1.0 / (config.factor * config.base**exponents)
            return stretched * (1 - share_kept) + frequencies * share_kept


def _share_kept_by_llama3(config: RotaryConfig, frequencies: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    rotations = config.original_context_length / (2 * math.pi / frequencies)
    low, high = config.low_frequency_factor, config.high_frequency_factor
    return ((rotations - low) / (high - low)).clamp(0, 1)


def _share_kept_by_yarn(config: RotaryConfig) -> Float[Tensor, " pairs"]:
    def pair_that_turns(n_times: float) -> float:
        """The pair whose channels turn so many times in the original context, as a number between pairs."""
        turns = config.original_context_length / (n_times * 2 * math.pi)
        return config.n_channels * math.log(turns) / (2 * math.log(config.base))

    first, last = pair_that_turns(config.high_frequency_factor), pair_that_turns(config.low_frequency_factor)
    if config.rounds_step:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, config.n_channels - 1)
    if first == last:
        last += 0.001
    pairs = torch.arange(config.n_channels // 2, dtype=torch.float32, device="cpu")
    return 1 - ((pairs - first) / (last - first)).clamp(0, 1)


class RotaryEmbedding:
    """Cosines and sines by position, made when first needed and kept by dtype and device.

    The angles are float32 in models of every dtype, as in the models' training.
    """

    def __init__(self, config: RotaryConfig) -> None:
        self.config = config
        self.n_channels = config.n_channels
        self._tables: dict[tuple[torch.dtype, torch.device, bool], tuple[Tensor, Tensor]] = {}

    def tables(
        self, n_positions: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[Float[Tensor, "positions channels"], Float[Tensor, "positions channels"]]:
        """Cosines and sines of the positions from 0 to at least `n_positions` - 1."""
        is_long = self.config.is_long(n_positions)
        tables = self._tables.get((dtype, device, is_long))
        if tables is None or len(tables[0]) < n_positions:
            size = max(64, 2 ** math.ceil(math.log2(n_positions)))
            # Tables outlive this pass. What is made in inference mode could not take part in a backward pass.
            with torch.inference_mode(False), torch.no_grad():
                positions = torch.arange(size, dtype=torch.float32, device=device)
                angles = positions[:, None] * inverse_frequencies(self.config, n_positions).to(device)
                is_interleaved = self.config.is_interleaved
                angles = angles.repeat_interleave(2, dim=-1) if is_interleaved else torch.cat((angles, angles), dim=-1)
                factor = self.config.attention_factor
                tables = (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)
            self._tables[dtype, device, is_long] = tables
        return tables

    def rotate(
        self,
        heads: Float[Tensor, "batch tokens heads d_head"],
        cosines: Float[Tensor, "rows tokens 1 channels"],
        sines: Float[Tensor, "rows tokens 1 channels"],
    ) -> Float[Tensor, "batch tokens heads d_head"]:
        """Queries or keys, rotated; channels beyond the first `n_channels` are unchanged."""
        rotated = heads[..., : self.n_channels]
        rotated = rotated * cosines + self._quarter_turn(rotated) * sines
        if self.n_channels == heads.shape[-1]:
            return rotated
        return torch.cat((rotated, heads[..., self.n_channels :]), dim=-1)

    def _quarter_turn(self, rotated: Float[Tensor, "batch tokens heads channels"]) -> Tensor:
        """Each pair (x, y) as (-y, x)."""
        if self.config.is_interleaved:
            return torch.stack((-rotated[..., 1::2], rotated[..., ::2]), dim=-1).flatten(-2)
        first, second = rotated.chunk(2, dim=-1)
        return torch.cat((-second, first), dim=-1)

    def at(
        self, position_ids: Int[Tensor, "rows tokens"], n_positions: int, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "rows tokens 1 channels"], Float[Tensor, "rows tokens 1 channels"]]:
        """Cosines and sines of the given positions, all below `n_positions`."""
        cosines, sines = self.tables(n_positions, dtype, position_ids.device)
        return cosines[position_ids].unsqueeze(2), sines[position_ids].unsqueeze(2)
