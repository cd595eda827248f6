"""Text with a value for each token, the values as colours."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.views.colour import ColourScale, as_floats, background_of_level
from neuron_explainer.views.document import MONO, MUTED, card
from neuron_explainer.views.running_text import Piece, in_reading_direction, text_pieces, with_line_breaks
from neuron_explainer.views.token_text import escaped, token_html, token_label
from neuron_explainer.vocabulary.checks import checked_number, checked_type
from neuron_explainer.wording import counted

DEFAULT_WIDTH = 64
"""The default number of tokens that a view shows of a long text."""

TEXT_STYLE = f"font-family:{MONO};font-size:13px;line-height:1.75;white-space:pre-wrap;overflow-wrap:anywhere"
_SWATCH_STYLE = "display:inline-block;width:7px;height:12px"


@dataclass(frozen=True)
class Excerpt:
    """The part of a text that is shown: tokens `start` to `stop` - 1, of `n_tokens`."""

    start: int
    stop: int
    n_tokens: int

    @property
    def positions(self) -> range:
        """The positions of its tokens."""
        return range(self.start, self.stop)


def excerpt_around(peak: int, n_tokens: int, width: SupportsIndex | None) -> Excerpt:
    """The excerpt of at most `width` tokens with `peak` in its middle, or as near to it as the text's ends allow.

    Raises:
        InvalidRequestError: `width` is not a whole number above 0.
    """
    n_shown = n_tokens if width is None else checked_number("width", width)
    if n_shown >= n_tokens:
        return Excerpt(0, n_tokens, n_tokens)
    start = max(0, min(peak - n_shown // 2, n_tokens - n_shown))
    return Excerpt(start, start + n_shown, n_tokens)


def peak_of(values: Sequence[float]) -> int:
    """The position of the largest finite value; 0 if no value is finite."""
    finite = (position for position, value in enumerate(values) if math.isfinite(value))
    return max(finite, key=lambda position: values[position], default=0)


def format_value(value: float) -> str:
    """A value as text: four significant digits, a typographic minus sign, and no minus for zero.

    >>> format_value(-0.123456)
    '−0.1235'
    """
    if math.isnan(value):
        return "not a number"
    return f"{value + 0.0:.4g}".replace("-", "−").replace("inf", "∞")


def token_heatmap(
    tokens: Sequence[str],
    values: Sequence[float],
    *,
    scale: ColourScale | None = None,
    width: SupportsIndex | None = DEFAULT_WIDTH,
    title: str | None = None,
) -> str:
    """A text whose tokens are coloured by value, as self-contained static HTML.

    Hover over a token to see its text, position and value. Whitespace and invisible characters are shown as marks. The
    token with the largest value is bold.

    Args:
        tokens: the text's tokens; (tokens,).
        values: one value per token, (tokens,). Infinite values and NaN are grey.
        scale: the colour scale; None: the scale of these values.
        width: how many tokens around the largest value are shown; None: all.
        title: a heading; text.

    Returns:
        HTML; show it in a notebook with `IPython.display.HTML`.

    Raises:
        InvalidRequestError: the numbers of values and tokens differ, a token is not a text or a value not a number,
            `scale` is not a ColourScale, `width` is not a whole number above 0, or `title` is not a text.

    >>> import neuron_explainer as ne
    >>> html = ne.token_heatmap(["Hello", " world"], [0.0, 2.5], title="A neuron")
    """
    if isinstance(tokens, str) or not isinstance(tokens, Iterable):
        raise InvalidRequestError(f"tokens is {shown(tokens)}. Give a list of texts, one per token.")
    texts = [checked_type("each token", token, str) for token in tokens]
    numbers = as_floats(values)
    scale = ColourScale.of(numbers) if scale is None else checked_type("scale", scale, ColourScale)
    return card(heading_html(title) + legend(scale) + heatmap_text(texts, numbers, scale, width))


def heading_html(title: str | None) -> str:
    """A view's heading; empty without a title.

    Raises:
        InvalidRequestError: `title` is not a text.
    """
    return f"<div><b>{escaped(checked_type('title', title, str))}</b></div>" if title is not None else ""


def no_mark(position: int) -> str:
    """No attribute, for a token that nothing asks for."""
    return ""


def heatmap_text(
    tokens: Sequence[str],
    values: Sequence[float],
    scale: ColourScale,
    width: SupportsIndex | None,
    mark: Callable[[int], str] = no_mark,
    *,
    by_size: bool = False,
) -> str:
    """The text of `token_heatmap` alone, without the card.

    Args:
        tokens, values, scale, width: as for `token_heatmap`.
        by_size: whether the bold token, around which the text is cut, is the one whose value is farthest from 0; else
            it is the one with the largest value.
        mark: gives an attribute for the element of the token at a position.

    Raises:
        InvalidRequestError: the numbers of values and tokens differ, or `width` is below 1.
    """
    if len(tokens) != len(values):
        raise InvalidRequestError(f"A heatmap needs one value per token; tokens: {len(tokens)}, values: {len(values)}.")
    peak = peak_of([abs(value) for value in values] if by_size else values)
    excerpt = excerpt_around(peak, len(tokens), width)
    pieces = text_pieces(tokens, excerpt.positions)
    elements = []
    for piece in pieces:
        text = token_html(piece.text)
        if peak in piece.positions:
            text = f"<b>{text}</b>"
        strongest = max(piece.positions, key=lambda position: _magnitude(values[position]))
        each = {position: format_value(values[position]) for position in piece.positions}
        hover = hover_text(piece, tokens, each)
        elements.append(token_element(text, hover, scale.style(values[strongest]), mark(strongest)))
    return excerpt_html(pieces, elements, excerpt)


def _magnitude(value: float) -> float:
    return abs(value) if math.isfinite(value) else math.inf


def hover_text(piece: Piece, tokens: Sequence[str], said_by_position: Mapping[int, str]) -> str:
    """The tooltip of a piece: the token, its position, and what is said of it; of a joined piece, of each token."""
    if not piece.is_joined:
        return f"{token_label(piece.text)} · position {piece.start} · {said_by_position[piece.start]}"
    parts = "; ".join(f"{token_label(tokens[place])} ({place}) {said_by_position[place]}" for place in piece.positions)
    return f"{token_label(piece.text)} · positions {piece.start}–{piece.stop - 1} · {parts}"


def token_element(text_html: str, hover: str, style: str = "", mark: str = "") -> str:
    """One token's element. It is a `bdi`, so that right-to-left text does not reorder its neighbours.

    Args:
        text_html: the token; HTML.
        hover: the tooltip; text.
        style: CSS declarations.
        mark: a further attribute; HTML.
    """
    css = f' style="{style}"' if style else ""
    css += f" {mark}" if mark else ""
    return f'<bdi{css} title="{escaped(hover)}">{text_html}</bdi>'


def excerpt_html(pieces: Sequence[Piece], elements: Sequence[str], excerpt: Excerpt) -> str:
    """The elements of an excerpt's pieces as running text, with a mark for the tokens left out before and after."""
    earlier, later = excerpt.start, excerpt.n_tokens - excerpt.stop
    text = in_reading_direction(pieces, with_line_breaks(pieces, elements))
    return (
        f'<div class="ne-text" dir="ltr" style="{TEXT_STYLE}">'
        f"{_left_out(earlier, 'earlier token')}{text}{_left_out(later, 'later token')}</div>"
    )


def _left_out(count: int, noun: str) -> str:
    if not count:
        return ""
    return f'<span title="{counted(count, noun)} not shown" style="color:{MUTED}">⋯</span>'


def legend(scale: ColourScale, n_swatches: int = 24, note: str = "") -> str:
    """The scale as a strip of colours, with its lowest and its highest value beside it.

    Args:
        scale: the scale.
        n_swatches: how many steps the strip has.
        note: what the scale is of, behind it; text.
    """
    if scale.limit == 0:
        return f'<div style="color:{MUTED};font-size:12px">all values are 0</div>'
    lowest, highest = scale.level(scale.low), scale.level(scale.high)
    levels = (lowest + round(step * (highest - lowest) / (n_swatches - 1)) for step in range(n_swatches))
    swatches = "".join(
        f'<span style="{_SWATCH_STYLE};background-color:{background_of_level(level)}"></span>' for level in levels
    )
    strip_style = f"border:1px solid {MUTED};display:inline-block;line-height:0;vertical-align:middle"
    low = format_value(scale.low) if scale.low < 0 else "0"
    return (
        f'<div class="ne-legend" style="color:{MUTED};font-size:12px;margin:4px 0 8px">'
        f'{low} <span style="{strip_style}">{swatches}</span> {format_value(scale.high)}'
        + (f" · {escaped(note)}" if note else "")
        + "</div>"
    )
