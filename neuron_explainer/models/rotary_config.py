"""The description of a rotary position embedding."""

from dataclasses import dataclass
from typing import Literal

from neuron_explainer.errors import MisconfiguredError, shown
from neuron_explainer.vocabulary.checks import finite_number, whole_number

Scaling = Literal["linear", "llama3", "yarn", "longrope"]


def check_positive(name: str, value: object) -> None:
    """Refuse a number that is not finite and above 0.

    Raises:
        MisconfiguredError: it is not.
    """
    number = finite_number(value)
    if number is None or number <= 0:
        raise MisconfiguredError(f"{name} is {shown(value)}; it must be a number above 0.")


@dataclass(frozen=True, kw_only=True)
class RotaryConfig:
    """Rotary position embedding (Su et al. 2021): pairs of channels rotated by an angle that grows with the position.

    Attributes:
        n_channels: how many of a head's channels, from the first on, are rotated; an even number.
        is_interleaved: whether channel 2 i is paired with channel 2 i + 1; else i with i + n_channels / 2.
        base: the base of the angles ("theta"): pair i is rotated by position * base^(-2 i / n_channels) radians.
        scaling: how wavelengths are stretched for long contexts: not (None), all by `factor` ("linear"), by Llama
            3's rule ("llama3": long ones by `factor`, short ones not at all, with a smooth step between), by YaRN's
            (arXiv:2309.00071: the same, with a step that is linear in the number of the pair), or each by a factor of
            its own ("longrope", arXiv:2402.13753).
        factor: the stretch.
        low_frequency_factor, high_frequency_factor: how often long and short wavelengths fit into the original
            context: Llama 3's constants, or YaRN's beta_slow and beta_fast.
        original_context_length: the length of the contexts before they were stretched.
        rounds_step: whether YaRN's step begins and ends at a whole pair ("truncate").
        attention_factor: the factor of cosines and sines, and so of queries and keys.
        short_factors, long_factors: longrope's stretch of each pair in passes of up to `original_context_length`
            tokens, padding included, and in longer ones.

    Raises:
        MisconfiguredError: the number of channels is odd, or a number is not positive and finite.
    """

    n_channels: int
    base: float = 10000.0
    is_interleaved: bool = False
    scaling: Scaling | None = None
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context_length: int = 8192
    rounds_step: bool = True
    attention_factor: float = 1.0
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        number = whole_number(self.n_channels)
        if number is None or number < 0 or number % 2:
            raise MisconfiguredError(
                f"{shown(self.n_channels)} channels of a head are rotated. The number must be even: they are rotated "
                "in pairs."
            )
        constants = ("base", "factor", "low_frequency_factor", "high_frequency_factor", "original_context_length")
        for name in (*constants, "attention_factor"):
            check_positive(f"The rotary embedding's {name}", getattr(self, name))
        if self.scaling in ("llama3", "yarn") and not self.low_frequency_factor < self.high_frequency_factor:
            raise MisconfiguredError(
                f"low_frequency_factor is {self.low_frequency_factor}; it must be below high_frequency_factor, "
                f"{self.high_frequency_factor}."
            )
        if self.scaling == "yarn" and self.base <= 1:
            raise MisconfiguredError(f"The rotary embedding's base is {self.base}; for YaRN it must be above 1.")
        for name in ("short_factors", "long_factors") if self.scaling == "longrope" else ():
            factors = getattr(self, name)
            if len(factors) != number // 2:
                raise MisconfiguredError(
                    f"{name} has {len(factors)} entries for {number // 2} pairs of channels. Give one for each pair."
                )
            for factor in factors:
                check_positive(f"One of the rotary embedding's {name}", factor)

    def is_long(self, n_positions: int) -> bool:
        """Whether a pass of so many positions is one that longrope's `long_factors` are for."""
        return self.scaling == "longrope" and n_positions > self.original_context_length
