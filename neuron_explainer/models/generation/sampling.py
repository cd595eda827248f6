"""Choosing the next token from its logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import MisconfiguredError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen. By default it is the most likely one.

    >>> Sampling(temperature=0.8, top_p=0.95, seed=0).top_p
    0.95

    Attributes:
        temperature: logits are divided by it; 0 takes the most likely token every time.
        top_k: only the k most likely tokens are eligible.
        top_p: only the most likely tokens whose probabilities add up to p are eligible, at least one (nucleus sampling,
            Holtzman et al. 2020); applied after `top_k`.
        seed: makes the choices repeatable; None means different choices every time. PyTorch's global generator is not
            used.

    Raises:
        MisconfiguredError: a value is out of range, or `top_k` or `top_p` is set with temperature 0.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise MisconfiguredError(f"temperature is {self.temperature}; it must be 0 or a positive number.")
        if self.top_k is not None and self.top_k < 1:
            raise MisconfiguredError(f"top_k is {self.top_k}; it must be at least 1.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise MisconfiguredError(f"top_p is {self.top_p}; it must be above 0 and at most 1.")
        if self.temperature == 0 and (self.top_k is not None or self.top_p is not None):
            raise MisconfiguredError(
                "top_k and top_p have no effect at temperature 0, which always takes the most likely token. Set a "
                "temperature, such as 1.0."
            )

    def generator(self, device: torch.device) -> torch.Generator:
        """A random generator for one text."""
        generator = torch.Generator(device)
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator

    def probabilities(self, logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        """The probability of each token to be chosen, float32. The temperature must be above 0."""
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
