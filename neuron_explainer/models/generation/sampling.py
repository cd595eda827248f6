"""Choosing the next token from its logits."""

from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, shown
from neuron_explainer.vocabulary.checks import checked_number, finite_number
from neuron_explainer.vocabulary.named_arguments import named_arguments

_LARGEST_SEED = 2**63 - 1


@named_arguments()
@dataclass(frozen=True, init=False)
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

    def __init__(
        self,
        *,
        temperature: SupportsFloat = 0.0,
        top_k: SupportsIndex | None = None,
        top_p: SupportsFloat | None = None,
        seed: SupportsIndex | None = None,
    ) -> None:
        # The constructor takes more types than the fields have: NumPy's and torch's numbers.
        for name, value in (
            ("temperature", _temperature(temperature)),
            ("top_k", None if top_k is None else checked_number("top_k", top_k, 1, MisconfiguredError)),
            ("top_p", None if top_p is None else _share(top_p)),
            ("seed", None if seed is None else _seed(seed)),
        ):
            object.__setattr__(self, name, value)
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

    def choose(self, logits: Float[Tensor, "batch vocab"], generator: torch.Generator) -> Int[Tensor, " batch"]:
        """One token for each prompt of a batch."""
        if self.temperature == 0:
            return logits.argmax(-1)
        return torch.multinomial(self.probabilities(logits), 1, generator=generator)[:, 0]


def check_sampling(sampling: object) -> None:
    """Refuse anything but a `Sampling`.

    Raises:
        InvalidRequestError: it is something else, such as a temperature alone.
    """
    if not isinstance(sampling, Sampling):
        number = finite_number(sampling)
        example = 0.8 if number is None else number
        raise InvalidRequestError(
            f"sampling is {shown(sampling)}. Give a Sampling: ne.Sampling(temperature={example:g})."
        )


def _temperature(given: object) -> float:
    number = finite_number(given)
    if number is None or number < 0:
        raise MisconfiguredError(f"temperature is {shown(given)}; it must be 0 or a positive number.")
    return number


def _share(given: object) -> float:
    number = finite_number(given)
    if number is None or not 0 < number <= 1:
        raise MisconfiguredError(f"top_p is {shown(given)}; it must be above 0 and at most 1.")
    return number


def _seed(given: object) -> int:
    number = checked_number("seed", given, 0, MisconfiguredError)
    if number > _LARGEST_SEED:
        raise MisconfiguredError(f"seed is {number}. Give a whole number below 2^63.")
    return number
