"""The prompts that models are checked with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from neuron_explainer.models.layers.token_checks import int64_on_cpu
from neuron_explainer.models.transformer import Transformer

N_LONG = 160
"""The tokens of the longer prompts of a thorough check: more than the usual ones have, and than a block of 128."""


N_SHORT = 4
"""The tokens of beginnings, where the length does not matter."""


@dataclass(frozen=True)
class Probe:
    """Prompts, padded on the right.

    Attributes:
        tokens: their ids; (batch, tokens).
        real: True for tokens, False for padding; (batch, tokens).
    """

    tokens: Int[Tensor, "batch tokens"]
    real: Bool[Tensor, "batch tokens"]

    @property
    def lengths(self) -> list[int]:
        """The number of real tokens of each prompt."""
        return [int(each) for each in self.real.sum(1)]

    def alone(self, prompt: int) -> Probe:
        """One prompt without padding."""
        n = self.lengths[prompt]
        return Probe(self.tokens[prompt : prompt + 1, :n], self.real[prompt : prompt + 1, :n])


def random_probe(model: Transformer, n_tokens: int = 24, seed: int = 0) -> Probe:
    """Two prompts of random tokens, one half as long as the other; windows and positions matter in them alike.

    Args:
        model: the model, which may read fewer tokens.
        n_tokens: the tokens of the longer one.
        seed: of the random numbers.
    """
    n = min(n_tokens, model.config.max_context_length)
    generator = torch.Generator("cpu").manual_seed(seed)
    tokens = torch.randint(0, model.config.vocab_size, (2, n), generator=generator, dtype=torch.int64, device="cpu")
    lengths = int64_on_cpu([[n], [(n + 1) // 2]])
    return Probe(tokens, int64_on_cpu(range(n)) < lengths)


def random_normal(shape: Sequence[int], seed: int) -> Float32[Tensor, "*axes"]:
    """Numbers of a normal distribution, on the CPU; a seed gives the same on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def depends_on_length(model: Transformer) -> bool:
    """Whether the model stretches positions by the length of the padded batch (longrope)."""
    return any(rotary is not None and rotary.scaling == "longrope" for rotary in model.config.rotary_by_layer)
