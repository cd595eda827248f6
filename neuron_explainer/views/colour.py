"""The colours of values: one signed scale, orange above zero and blue below, readable for colour-blind people.

Lightness falls with magnitude, equally on both sides, so that magnitude can be read without hue. The two hues remain
distinct under each kind of colour blindness. Colours are defined in OKLCH (Björn Ottosson, "A perceptual color space
for image processing", 2020: https://bottosson.github.io/posts/oklab/). Text on a colour is black or white, whichever
has more contrast: always at least 4.5 to 1.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.views.theme.inks import INK
from neuron_explainer.vocabulary.checks import finite_number

N_LEVELS = 32
"""The number of steps from zero to the deepest colour, on each side."""

LEAST_CONTRAST = 4.5
"""The least contrast of text with its background, as WCAG 2.2 asks for."""

NOT_FINITE_BACKGROUND = "#d5d5d5"
POSITIVE_HUE, NEGATIVE_HUE = 58.0, 250.0  # degrees
_LIGHTNESS_RANGE = (1.0, 0.62)  # at zero, at the limit
CHROMA_AT_LIMIT = 0.16


@dataclass(frozen=True)
class ColourScale:
    """The colours of values from `low` to `high`.

    The scale is symmetric: its deepest colours are at -`limit` and `limit`, the larger magnitude of `low` and `high`.
    Zero is white.

    Raises:
        InvalidRequestError: an end is not a finite number.

    >>> ColourScale(low=-1.0, high=4.0).background(4.0)
    '#cb6800'
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            number = finite_number(getattr(self, name))
            if number is None:
                raise InvalidRequestError(f"ColourScale: {name} is {shown(getattr(self, name))}. Give a finite number.")
            object.__setattr__(self, name, number)

    @classmethod
    def of(cls, values: Iterable[float]) -> "ColourScale":
        """The scale that covers these values and zero. Infinite values and NaN are ignored.

        Raises:
            InvalidRequestError: they are not numbers.
        """
        low = high = 0.0
        for value in as_floats(values):
            if math.isfinite(value):
                low, high = min(low, value), max(high, value)
        return cls(low, high)

    @property
    def limit(self) -> float:
        """The magnitude of the deepest colours."""
        return max(-self.low, self.high, 0.0)

    def level(self, value: float) -> int:
        """The step of the scale for a finite value, from -N_LEVELS to N_LEVELS; always 0 if `limit` is 0."""
        if self.limit == 0:
            return 0
        return round(max(-1.0, min(1.0, value / self.limit)) * N_LEVELS)

    def background(self, value: float) -> str:
        """The colour of a value, as `#rrggbb`; grey if it is infinite or NaN."""
        return background_of_level(self.level(value)) if math.isfinite(value) else NOT_FINITE_BACKGROUND

    def style(self, value: float) -> str:
        """CSS declarations for the background and the text of an element; empty for white, the default."""
        background = self.background(value)
        if background == "#ffffff":
            return ""
        text = text_colour(background)
        is_default = text == "#000000" and contrast(INK, background) >= LEAST_CONTRAST  # the card's own ink will do
        return f"background-color:{background}" + ("" if is_default else f";color:{text}")


def as_floats(values: Iterable[float]) -> list[float]:
    """Numbers of Python, NumPy or torch as plain floats.

    Raises:
        InvalidRequestError: they are not numbers.

    >>> as_floats([1, float("inf")])
    [1.0, inf]
    """
    if not isinstance(values, str):
        try:
            return [float(value) for value in _flat(values)]
        except (TypeError, ValueError, OverflowError, RuntimeError):  # a tensor may have no numbers (meta device)
            pass
    raise InvalidRequestError(f"Values must be numbers, not {shown(values)}.")


def _flat(values: Any) -> Any:
    """A tensor or array with one axis. Those of models may belong to a graph, and have a batch axis of 1."""
    if hasattr(values, "detach"):
        values = values.detach()
    shape = getattr(values, "shape", ())
    return values.reshape(-1) if len(shape) > 1 and max(shape) == math.prod(shape) else values


@lru_cache(maxsize=2 * N_LEVELS + 1)
def background_of_level(level: int) -> str:
    """The colour of a step of the scale, from -N_LEVELS to N_LEVELS, as `#rrggbb`."""
    share = abs(level) / N_LEVELS
    lightness = _LIGHTNESS_RANGE[0] + share * (_LIGHTNESS_RANGE[1] - _LIGHTNESS_RANGE[0])
    hue = math.radians(POSITIVE_HUE if level > 0 else NEGATIVE_HUE)
    chroma = CHROMA_AT_LIMIT * share**0.75  # so that pale colours keep a visible hue
    return hex_of_oklab(lightness, chroma * math.cos(hue), chroma * math.sin(hue))


def plotly_colour_scale(is_signed: bool = True) -> list[tuple[float, str]]:
    """The scale in plotly's form: 0 is the negative limit, 0.5 is zero, 1 is the positive limit.

    Args:
        is_signed: False for the upper half alone: 0 is zero.
    """
    levels = range(-N_LEVELS if is_signed else 0, N_LEVELS + 1)
    return [((level - levels[0]) / (len(levels) - 1), background_of_level(level)) for level in levels]


def hex_of_oklab(lightness: float, a: float, b: float) -> str:
    """OKLab to sRGB, by Ottosson's matrices. Channels outside sRGB are clipped."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _encoded(channel)):02x}" for channel in linear)


def _encoded(linear: float) -> float:
    """A linear channel, clipped to 0…1, encoded by sRGB's transfer function (IEC 61966-2-1)."""
    clipped = max(0.0, min(1.0, linear))
    return 12.92 * clipped if clipped <= 0.0031308 else 1.055 * clipped ** (1 / 2.4) - 0.055


def relative_luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb`, from 0 (black) to 1 (white), as WCAG 2.2 defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((relative_luminance(one), relative_luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@lru_cache(maxsize=256)
def text_colour(background: str) -> str:
    """Black or white, whichever has more contrast with the background."""
    return max(("#000000", "#ffffff"), key=lambda text: contrast(text, background))
