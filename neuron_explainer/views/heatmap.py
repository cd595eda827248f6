"""Text with a value for each token, the values as colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import ColourScale, background_of_level
from neuron_explainer.views.document import MONO, MUTED, card
from neuron_explainer.views.token_text import counted, escaped, token_html, token_label

DEFAULT_WIDTH = 64
"""How many tokens a view shows of a long text, unless told otherwise."""

TEXT_STYLE = f"font-family:{MONO};font-size:13px;line-height:1.75;white-space:pre-wrap;overflow-wrap:anywhere"
_SWATCH_STYLE = "display:inline-block;width:7px;height:12px"


@dataclass(frozen=True)
class Window:
    """A stretch of a text: the tokens from `start` up to, not including, `stop`, of `n_tokens`."""

    start: int
    stop: int
    n_tokens: int

    @property
    def places(self) -> range:
        """The positions of its tokens."""
        return range(self.start, self.stop)


def window_around(peak: int, n_tokens: int, width: int | None) -> Window:
    """The stretch of at most `width` tokens that has `peak` in its middle, or as near to it as the text's ends allow.

    Raises:
        InvalidRequestError: `width` is below 1.
    """
    if width is None or width >= n_tokens:
        return Window(0, n_tokens, n_tokens)
    if width < 1:
        raise InvalidRequestError(f"A view of a text shows at least 1 token, not {width}; None shows all.")
    start = max(0, min(peak - width // 2, n_tokens - width))
    return Window(start, start + width, n_tokens)


def peak_of(values: Sequence[float]) -> int:
    """The position of the largest value, infinite ones and NaN aside; 0 where there is none."""
    return max(
        (place for place, value in enumerate(values) if math.isfinite(value)), key=lambda at: values[at], default=0
    )


def format_value(value: float) -> str:
    """A value for people: four significant digits, a real minus sign, and no minus at zero."""
    if math.isnan(value):
        return "not a number"
    return f"{value + 0.0:.4g}".replace("-", "−").replace("inf", "∞")


def token_heatmap(
    tokens: Sequence[str],
    values: Sequence[float],
    *,
    scale: ColourScale | None = None,
    width: int | None = DEFAULT_WIDTH,
    title: str | None = None,
) -> str:
    """A text whose tokens are coloured by value, as self-contained static HTML.

    Hovering over a token tells it, its position and its value. Whitespace and characters that cannot be seen are shown
    by marks; the token of the largest value is bold.

    Args:
        tokens: the text's tokens.
        values: one value a token. Infinite ones and NaN are grey.
        scale: the colours; None: the values' own.
        width: how many tokens around the largest value are shown; None: all.
        title: a heading; text.

    Raises:
        InvalidRequestError: there are not as many values as tokens, or `width` is below 1.
    """
    scale = scale if scale is not None else ColourScale.of(values)
    heading = f"<div><b>{escaped(title)}</b></div>" if title else ""
    return card(heading + legend(scale) + heatmap_text(tokens, values, scale, width))


def heatmap_text(tokens: Sequence[str], values: Sequence[float], scale: ColourScale, width: int | None) -> str:
    """`token_heatmap`'s text alone, to be set in a card.

    Raises:
        InvalidRequestError: there are not as many values as tokens, or `width` is below 1.
    """
    if len(tokens) != len(values):
        raise InvalidRequestError(f"A heatmap has one value a token: {len(tokens)} tokens, {len(values)} values.")
    peak = peak_of(values)
    window = window_around(peak, len(tokens), width)
    parts = []
    for place in window.places:
        text = token_html(tokens[place])
        if place == peak:
            text = f"<b>{text}</b>"
        hover = f"{token_label(tokens[place])} · position {place} · {format_value(values[place])}"
        parts.append(token_element(text, hover, scale.style(values[place])))
    return windowed_text(parts, window, tokens)


def token_element(text_html: str, hover: str, style: str = "") -> str:
    """One token: `bdi`, so that right-to-left text does not reorder its neighbours; `hover` is text."""
    css = f' style="{style}"' if style else ""
    return f'<bdi{css} title="{escaped(hover)}">{text_html}</bdi>'


def windowed_text(token_elements: Sequence[str], window: Window, tokens: Sequence[str]) -> str:
    """The elements of a window's tokens as one running text, with a word on what lies before and after it.

    Lines break where the text itself has whitespace, though the marks shown in its place would not allow that.
    """
    parts = []
    for place, element in zip(window.places, token_elements, strict=True):
        follows_whitespace = place > window.start and tokens[place - 1][-1:].isspace()
        parts.append(f"<wbr>{element}" if follows_whitespace or tokens[place][:1].isspace() else element)
    before, after = window.start, window.n_tokens - window.stop
    return (
        f'<div class="ne-text" dir="ltr" style="{TEXT_STYLE}">'
        f"{_left_out(before, 'before')}{''.join(parts)}{_left_out(after, 'after')}</div>"
    )


def _left_out(count: int, where: str) -> str:
    if not count:
        return ""
    return f'<span title="{counted(count, "token")} {where} this not shown" style="color:{MUTED}">⋯</span>'


def legend(scale: ColourScale, n_swatches: int = 24) -> str:
    """The scale as a strip of colours from its lowest to its highest value, with both written beside it."""
    if scale.limit == 0:
        return f'<div style="color:{MUTED};font-size:12px">every value is 0</div>'
    lowest, highest = scale.level(scale.low), scale.level(scale.high)
    shown = (lowest + round(step * (highest - lowest) / (n_swatches - 1)) for step in range(n_swatches))
    swatches = "".join(
        f'<span style="{_SWATCH_STYLE};background-color:{background_of_level(level)}"></span>' for level in shown
    )
    strip_style = f"border:1px solid {MUTED};display:inline-block;line-height:0;vertical-align:middle"
    low = format_value(scale.low) if scale.low < 0 else "0"
    return (
        f'<div class="ne-legend" style="color:{MUTED};font-size:12px;margin:4px 0 8px">'
        f'{low} <span style="{strip_style}">{swatches}</span> {format_value(scale.high)}</div>'
    )
