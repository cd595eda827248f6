"""Attention patterns of an answer: that of one head in the prompt, and those of all heads as small pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName, parse_node
from neuron_explainer.errors import shown
from neuron_explainer.views.attribution.cells import GRID, grid_name, node_mark, section, token_mark
from neuron_explainer.views.attribution.pattern_pictures import LARGEST, NO_PAIR, pictures
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK, MUTED, PAPER, card
from neuron_explainer.views.heatmap import DEFAULT_WIDTH, format_value, legend
from neuron_explainer.views.token_pairs import HOW_TO_READ_BARS, PairsOfText, pair_matrix, pair_text
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from neuron_explainer.attribution.attribution import Attribution

_N_PAIRS = 5
_MATRIX_WIDTH = 40
_SMALLEST, _WIDEST = 24, 1000  # pixels of a tile, and of a row of tiles of many heads
_LABEL = f"background-color:{PAPER};color:{MUTED};padding:0 3px;font-size:11px;font-weight:normal"
_GRID_TITLE = "Attention patterns"
ONLY_TOKEN = "The prompt has one token alone; without the first token nothing is left."


def pattern_html(why: Attribution, head: str, skip_first: bool = False) -> str:
    """The attention pattern of one head as static HTML: the prompt with bars, the strongest pairs, and the matrix.

    Args:
        why: the answer.
        head: the head's name, "L2H3"; a token in it is not read.
        skip_first: without attention to the first token, where many heads rest.

    Raises:
        NodeNameError: it is not the name of a head.
        InvalidRequestError: the answer has no such head.
    """
    return card(pattern_content(why, head, skip_first), "ne-pattern")


def head_card(name: str, tokens: Sequence[str], weights: NDArray[np.float32], skip_first: bool = False) -> str:
    """A head's pattern on a prompt as static HTML: the prompt with bars, the strongest pairs, and the matrix.

    Args:
        name: the head's name.
        tokens: the prompt's tokens.
        weights: (attended from, attended to).
        skip_first: without attention to the first token.
    """
    return card(_content(name, tokens, weights, skip_first), "ne-pattern")


def pattern_content(why: Attribution, head: str, skip_first: bool = False, number: int = 0, space: int = 0) -> str:
    """`pattern_html` without the card, of a pass."""
    name = parse_node(head, kind="head").whole()
    weights = why.pattern(in_pass(why, name, number)).numpy()
    tokens = why.effects[number].prompt.token_strings
    return _content(str(name), tokens, weights, skip_first, of_pass(why, number), space)


def _content(
    name: str,
    tokens: Sequence[str],
    weights: NDArray[np.float32],
    skip_first: bool,
    note: str = "",
    space: int = 0,
) -> str:
    matrix = np.where(np.tri(len(tokens), dtype=bool), weights.astype(np.float64), np.nan)
    title = f"Attention of {name}"
    if skip_first:
        if len(tokens) == 1:
            return section(title, _muted(ONLY_TOKEN), space=space)
        matrix[:, 0] = np.nan
    limit = largest_weight(matrix[np.isfinite(matrix)]) if skip_first else 1.0

    def mark(attended_from: int, attended_to: int) -> str:
        return node_mark(f"{name}@{attended_from}<-{attended_to}")

    pairs = PairsOfText(tokens, matrix, token_mark, mark)
    scale = ColourScale(0.0, limit)
    text = pair_text(pairs, scale, DEFAULT_WIDTH, _N_PAIRS)
    table = pair_matrix(pairs, scale, _MATRIX_WIDTH, is_open=True, grid_mark=f"{GRID} {grid_name(title)}")
    scale_shown = weights_legend(limit, skip_first)
    content = f'{scale_shown}{_muted(HOW_TO_READ_BARS)}{text}<div style="overflow-x:auto">{table}</div>'
    return section(title, content, note, space)


def pattern_grid_html(why: Attribution, skip_first: bool = False, chosen: str | None = None) -> str:
    """The attention patterns of all heads as small pictures, a row for each layer, as static HTML.

    In each picture a row is a token that attends and a column one that it attends to, both from the first token on. Of
    more than 48 tokens each pixel is the largest weight of a block.

    Args:
        why: the answer.
        skip_first: without the first token, where many heads rest.
        chosen: the name of a head that is marked.
    """
    tokens = why.effects[0].prompt.token_strings
    first = int(skip_first)
    weights = {layer: each[first:, first:] for layer, each in why.patterns().items()}
    if len(tokens) == first:
        return card(section(_GRID_TITLE, _muted(ONLY_TOKEN), space=0), "ne-pattern-grid")
    if not weights:
        return card(
            section(_GRID_TITLE, _muted("No attention lies upstream of this answer."), space=0), "ne-pattern-grid"
        )
    limit = largest_weight([float(each.amax()) for each in weights.values()]) if skip_first else 1.0
    chosen = None if chosen is None else str(parse_node(chosen, kind="head").whole())
    most_heads = max(each.shape[-1] for each in weights.values())
    heads = "".join(f'<th style="{_LABEL};text-align:center">{number}</th>' for number in range(most_heads))
    size = max(_SMALLEST, min(LARGEST, _WIDEST // most_heads - 2))
    rows = "".join(_row(layer, each, limit, size, chosen) for layer, each in weights.items())
    head = f'<tr style="background-color:{PAPER}"><th style="{_LABEL};text-align:right">layer</th>{heads}</tr>'
    style = f"border-collapse:separate;border-spacing:2px;margin:4px 0;background-color:{PAPER};color:{INK}"
    named = f"{GRID} {grid_name(_GRID_TITLE)}"
    table = f'<div style="overflow-x:auto"><table {named} style="{style}">{head}{rows}</table></div>'
    note = "a row for each layer, a column for each head" + (f"; {chosen} is chosen" if chosen else "")
    how = "Downwards: the token that attends. To the right: the token that it attends to."
    side = -(-(len(tokens) - first) // LARGEST)
    if side > 1:
        how += f" A pixel is the largest weight of {side} × {side} pairs."
    content = weights_legend(limit, skip_first) + _muted(how) + table
    note = "; ".join(filter(None, [note, of_pass(why, 0)]))
    return card(section(_GRID_TITLE, content, note, space=0), "ne-pattern-grid")


def _row(layer: int | None, weights: Tensor, limit: float, size: int, chosen: str | None) -> str:
    cells = []
    for number, address in enumerate(pictures(weights, limit)):
        name = f"L{layer}H{number}"
        is_chosen = name == chosen
        border = f"border:1px solid {NO_PAIR}" + (f";outline:3px solid {INK}" if is_chosen else "")
        style = f"display:block;image-rendering:pixelated;box-sizing:border-box;{border}"
        hover = f"{name}, chosen" if is_chosen else name
        image = (
            f'<img src="{address}" alt="{name}" width="{size}" height="{size}" {node_mark(name)} title="{hover}" '
            f'style="{style};width:{size}px;height:{size}px;max-width:none;margin:0">'
        )
        cells.append(f'<td style="padding:0;background-color:{PAPER}">{image}</td>')
    label = f'<th scope="row" style="{_LABEL};text-align:right">{layer}</th>'
    return f'<tr style="background-color:{PAPER}">{label}{"".join(cells)}</tr>'


def weights_legend(limit: float, skip_first: bool) -> str:
    """The scale of attention weights, up to the weight of the deepest colour."""
    note = "attention weights"
    if skip_first:
        note += f" but those to the first token; the largest of them is {format_value(limit)}"
    return legend(ColourScale(0.0, limit), note=note)


def largest_weight(numbers: Iterable[float]) -> float:
    """The largest finite number; 0 if there is none."""
    return max(filter(math.isfinite, numbers), default=0.0)


def of_pass(why: Attribution, number: int) -> str:
    """About which answer a pass is, where there are several."""
    answer = why.inquiry.passes[number].answer if len(why.effects) > 1 else None
    return "" if answer is None else f"in the pass about {shown(answer)}"


def in_pass(why: Attribution, name: NodeName, number: int) -> Any:
    """A node of a pass as the answer takes it: its name; of a later pass a row of a table, which says of which."""
    if number == 0:
        return str(name)
    import pandas

    return pandas.Series({"answer": why.inquiry.passes[number].answer}, name=name.to_node_index(), dtype=object)


def _muted(text: str) -> str:
    return f'<div style="color:{MUTED};font-size:12px">{escaped(text)}</div>'
