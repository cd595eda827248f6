"""Who attends to whom: text with a value for each pair of tokens, as records of attention heads have it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.activations import ActivationRecord
from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK, MUTED, PAPER, card
from neuron_explainer.views.heatmap import (
    DEFAULT_WIDTH,
    format_value,
    legend,
    token_element,
    window_around,
    windowed_text,
)
from neuron_explainer.views.token_text import escaped, token_html, token_label

MATRIX_WIDTH = 28
"""How many tokens the matrix of a long text shows, unless told otherwise."""

HOW_TO_READ_BARS = (
    "The bar above a token: the most it attends to any token up to itself. The bar below it: the most that any token "
    "from it on attends to it. Hover to see to whom."
)

_PAIRS_STYLE = f"display:flex;flex-wrap:wrap;column-gap:28px;font-size:12px;line-height:1.8;color:{INK}"


@dataclass(frozen=True)
class Pair:
    """A token that attends, at position `attended_from`, the token it attends to, and the value of that."""

    attended_from: int
    attended_to: int
    value: float


def strongest_pairs(matrix: NDArray[np.float64], count: int) -> list[Pair]:
    """The pairs of the largest values, the largest first; NaN marks what is no pair.

    Args:
        matrix: (tokens, tokens), attended from and attended to.
        count: how many.
    """
    flat = np.where(np.isnan(matrix), -np.inf, matrix).ravel()
    largest = np.argpartition(-flat, min(count, flat.size - 1))[:count] if flat.size else np.arange(0)
    order = largest[np.lexsort((largest, -flat[largest]))]  # the earlier pair first where values are equal
    places = (divmod(int(place), len(matrix)) for place in order if flat[place] > -np.inf)
    return [
        Pair(attended_from, attended_to, float(matrix[attended_from, attended_to]))
        for attended_from, attended_to in places
    ]


def pair_view(
    example: ActivationRecord,
    *,
    scale: ColourScale | None = None,
    width: int | None = DEFAULT_WIDTH,
    n_pairs: int = 5,
    matrix_width: int | None = MATRIX_WIDTH,
    title: str | None = None,
) -> str:
    """One example of an attention head, or of anything with a value for each token pair, as static HTML.

    The text with two bars at each token (see `HOW_TO_READ_BARS`), the strongest pairs, and the matrix of all pairs.
    Records in which a token attends to a bounded window of earlier ones are shown so.

    Args:
        example: the text and its flattened pairs.
        scale: the colours; None: the values' own.
        width: how many tokens around the strongest pair the text shows; None: all.
        n_pairs: how many of the strongest pairs are written out.
        matrix_width: how many tokens around the strongest pair the matrix shows; None: all.
        title: a heading; text.

    Raises:
        InvalidRequestError: `width` or `matrix_width` is below 1.
    """
    scale = scale if scale is not None else ColourScale.of(example.activations)
    heading = f"<div><b>{escaped(title)}</b></div>" if title else ""
    help_text = f'<div style="color:{MUTED};font-size:12px">{HOW_TO_READ_BARS}</div>'
    body = pair_text(example, scale, width, n_pairs) + pair_matrix(example, scale, matrix_width, is_open=True)
    return card(heading + legend(scale) + help_text + body)


def pair_text(example: ActivationRecord, scale: ColourScale, width: int | None, n_pairs: int) -> str:
    """`pair_view`'s text and strongest pairs, to be set in a card."""
    tokens, n_tokens = example.tokens, len(example.tokens)
    matrix = unflatten(example.activations, n_tokens)
    strongest = strongest_pairs(matrix, max(1, n_pairs))
    window = window_around(strongest[0].attended_from if strongest else 0, n_tokens, width)
    parts = []
    for place in window.places:
        gives, takes = _largest(matrix[place]), _largest(matrix[:, place])
        text = token_html(tokens[place])
        if strongest and place in (strongest[0].attended_from, strongest[0].attended_to):
            text = f"<b>{text}</b>"
        hover = (
            f"{token_label(tokens[place])} · position {place}"
            f" · attends most to {_named(tokens, gives[0])}: {format_value(gives[1])}"
            f" · attended to most by {_named(tokens, takes[0])}: {format_value(takes[1])}"
        )
        above, below = scale.background(gives[1]), scale.background(takes[1])
        parts.append(token_element(text, hover, f"border-top:4px solid {above};border-bottom:4px solid {below}"))
    written = "".join(_written_out(pair, tokens, scale) for pair in strongest[:n_pairs])
    return windowed_text(parts, window, tokens) + f'<div style="{_PAIRS_STYLE}">{written}</div>'


def _largest(values: NDArray[np.float64]) -> tuple[int, float]:
    """Where the largest value is, and the value. Every row and column of the matrix has one: the token itself."""
    place = int(np.nanargmax(values))
    return place, float(values[place])


def _named(tokens: Sequence[str], place: int) -> str:
    return f"{token_label(tokens[place])} ({place})"


def _written_out(pair: Pair, tokens: Sequence[str], scale: ColourScale) -> str:
    """A pair as a line: the token that attends, the one attended to, the value on its colour."""
    attended_from, attended_to = (
        f'<bdi title="position {place}">{token_html(tokens[place]).replace("<br>", "")}</bdi>'
        f'<span style="color:{MUTED};font-size:11px">&nbsp;{place}</span>'
        for place in (pair.attended_from, pair.attended_to)
    )
    value = f'<span style="{scale.style(pair.value)};padding:0 4px;border-radius:3px">{format_value(pair.value)}</span>'
    return f'<span class="ne-pair">{value} {attended_from} attends to {attended_to}</span>'


def pair_matrix(example: ActivationRecord, scale: ColourScale, width: int | None, *, is_open: bool = False) -> str:
    """The pairs as a triangle of coloured cells, a row for each token that attends, under a line to open it by.

    A row ends at the token itself, with its name: the name is that of the row and, read downwards, of the column.
    """
    tokens, n_tokens = example.tokens, len(example.tokens)
    matrix = unflatten(example.activations, n_tokens)
    strongest = strongest_pairs(matrix, 1)
    if not strongest:
        return ""
    middle = (strongest[0].attended_from + strongest[0].attended_to + 1) // 2
    window = window_around(middle, n_tokens, width)
    rows = []
    for attended_from in window.places:
        cells = []
        for attended_to in range(window.start, attended_from + 1):
            value = float(matrix[attended_from, attended_to])
            if np.isnan(value):
                cells.append("<td></td>")
                continue
            hover = f"{_named(tokens, attended_from)} to {_named(tokens, attended_to)}: {format_value(value)}"
            cells.append(f'<td bgcolor="{scale.background(value)}" title="{escaped(hover)}"></td>')
        label = f'<td class="ne-label" colspan="{window.stop - attended_from}" style="text-align:left">'
        label += f"<bdi>{token_html(tokens[attended_from]).replace('<br>', '')}</bdi></td>"
        # Notebook front ends stripe tables in their theme's colours, unless a row has its own
        rows.append(f'<tr style="background-color:{PAPER}">{"".join(cells)}{label}</tr>')
    shown = (
        "all pairs" if len(window.places) == n_tokens else f"the pairs of tokens {window.start} to {window.stop - 1}"
    )
    table = (
        f'<table class="ne-pairs" style="font-size:11px;background-color:{PAPER};color:{INK}">{"".join(rows)}</table>'
    )
    summary = f'<summary style="color:{MUTED};font-size:12px">{shown}</summary>'
    return f"<details{' open' if is_open else ''}>{summary}{table}</details>"
