"""Choosing the next token from its logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import MisconfiguredError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen; what is not set does nothing.

    Attributes:
        temperature: what logits are divided by; 0 takes the most likely token every time.
        top_k: only the k most likely tokens are eligible.
        top_p: only the most likely tokens that together have probability p are eligible, at least one (nucleus
            sampling, Holtzman et al. 2020); applied after `top_k`.
        seed: makes the choices repeatable. None: different ones every time. PyTorch's global generator is not touched.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise MisconfiguredError(f"temperature is {self.temperature}; it must be 0 or a positive number.")
        if self.top_k is not None and self.top_k < 1:
            raise MisconfiguredError(f"top_k is {self.top_k}; at least one token must be eligible.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise MisconfiguredError(f"top_p is {self.top_p}; it is a probability, above 0 and at most 1.")
        if self.temperature == 0 and (self.top_k is not None or self.top_p is not None):
            raise MisconfiguredError(
                "top_k and top_p choose among eligible tokens, and temperature 0 always takes the likeliest: set a "
                "temperature, such as 1.0."
            )

    def generator(self, device: torch.device) -> torch.Generator:
        """A source of randomness for one text."""
        generator = torch.Generator(device)
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator

    def probabilities(self, logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        """Each token's chance of being chosen, float32; needs a temperature above 0."""
        logits = logits.float() / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            smallest = logits.topk(self.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < smallest, float("-inf"))
        probabilities = logits.softmax(-1)
        if self.top_p is None:
            return probabilities
        descending, order = probabilities.sort(descending=True, stable=True)
        is_beyond = descending.cumsum(-1) - descending >= self.top_p
        kept = descending.masked_fill(is_beyond, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, kept)
        return probabilities / probabilities.sum(-1, keepdim=True)

    def choose(self, logits: Float[Tensor, "batch vocab"], generator: torch.Generator) -> Int[Tensor, "batch"]:
        """One token for each prompt of a batch."""
        if self.temperature == 0:
            return logits.argmax(-1)
        return torch.multinomial(self.probabilities(logits), 1, generator=generator)[:, 0]
