"""The static HTML of the figures of derived scalars, for front ends without plotly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import LINE, MUTED, card
from neuron_explainer.views.heatmap import DEFAULT_WIDTH, heading_html, heatmap_text, legend
from neuron_explainer.views.token_pairs import MATRIX_WIDTH, PairsOfText, pair_matrix, pair_text
from neuron_explainer.views.token_text import escaped

_MOST_ROWS = 12
_MOST_MATRICES = 4


def rows_html(
    title: str, tokens: Sequence[str], names: Sequence[str], rows: NDArray[np.float64], scale: ColourScale
) -> str:
    """One line of text for each row, its tokens coloured by value.

    Args:
        title: the heading; text.
        tokens: (tokens,).
        names: a name for each row; text.
        rows: the values, (rows, tokens).
        scale: the scale of all rows.
    """
    lines = [
        _line(name, heatmap_text(tokens, values.tolist(), scale, DEFAULT_WIDTH))
        for name, values in list(zip(names, rows, strict=True))[:_MOST_ROWS]
    ]
    return card(heading_html(title) + legend(scale) + "".join(lines) + _rest(len(names)))


def patterns_html(
    title: str, tokens: Sequence[str], patterns: Sequence[tuple[str, NDArray[np.float64]]], scale: ColourScale
) -> str:
    """The strongest pairs of each attention pattern, and the matrices of the first.

    Args:
        title: the heading; text.
        tokens: (tokens,).
        patterns: the name of each head, and its matrix (attended from, attended to).
        scale: the scale of all patterns.
    """
    lines = []
    for number, (name, matrix) in enumerate(patterns[:_MOST_ROWS]):
        is_pair = np.tri(len(tokens), dtype=bool)
        pairs = PairsOfText(tokens, np.where(is_pair, np.nan_to_num(matrix, posinf=0.0), np.nan))
        text = pair_text(pairs, scale, DEFAULT_WIDTH, 3)
        if number < _MOST_MATRICES:
            text += pair_matrix(pairs, scale, MATRIX_WIDTH)
        lines.append(_line(name, text))
    return card(heading_html(title) + legend(scale) + "".join(lines) + _rest(len(patterns)))


def _line(name: str, text: str) -> str:
    return (
        f'<div style="display:flex;gap:14px;border-top:1px solid {LINE};padding:4px 0">'
        f'<div style="color:{MUTED};font-size:12px;min-width:90px">{escaped(name)}</div>'
        f'<div style="flex:1 1 0;min-width:0">{text}</div></div>'
    )


def _rest(n_rows: int) -> str:
    if n_rows <= _MOST_ROWS:
        return ""
    return f'<div style="color:{MUTED};font-size:12px">{_MOST_ROWS} of {n_rows}; the figure shows all</div>'
