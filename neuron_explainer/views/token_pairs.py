"""Text with a value for each token pair (which token attends to which), as in records of attention heads."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import INK, MUTED, PAPER, card
from neuron_explainer.views.heatmap import (
    DEFAULT_WIDTH,
    excerpt_around,
    excerpt_html,
    format_value,
    heading_html,
    hover_text,
    legend,
    no_mark,
    token_element,
)
from neuron_explainer.views.running_text import text_pieces
from neuron_explainer.views.token_text import escaped, token_html, token_label
from neuron_explainer.vocabulary.checks import checked_number, checked_type

MATRIX_WIDTH = 28
"""The default number of tokens that the matrix of a long text shows."""

HOW_TO_READ_BARS = (
    "Bar above a token: its strongest attention to itself or an earlier token. Bar below a token: the strongest "
    "attention to it, from itself or a later token. Hover over a token to see which."
)

_PAIRS_STYLE = f"display:flex;flex-wrap:wrap;column-gap:28px;font-size:12px;line-height:1.8;color:{INK}"


@dataclass(frozen=True)
class TokenPair:
    """A pair of tokens with its value: the token at `attended_from` attends to the token at `attended_to`."""

    attended_from: int
    attended_to: int
    value: float


def no_pair_mark(attended_from: int, attended_to: int) -> str:
    """No attribute, for a pair that nothing asks for."""
    return ""


@dataclass(frozen=True)
class PairsOfText:
    """A text with a value for each pair of tokens that is shown.

    Attributes:
        tokens: the text's tokens.
        matrix: (attended from, attended to), (tokens, attended-to tokens); NaN for pairs that are not shown.
        token_mark, pair_mark: give a further attribute for the element of a token, or of a pair.
    """

    tokens: Sequence[str]
    matrix: NDArray[np.float64]
    token_mark: Callable[[int], str] = no_mark
    pair_mark: Callable[[int, int], str] = no_pair_mark

    @classmethod
    def of(cls, example: ActivationRecord) -> "PairsOfText":
        """The pairs of a record's example."""
        return cls(example.tokens, unflatten(example.activations, len(example.tokens)))


def strongest_pairs(matrix: NDArray[np.float64], count: int) -> list[TokenPair]:
    """The pairs with the largest values, the largest first.

    Args:
        matrix: (attended from, attended to), (tokens, attended-to tokens); NaN for entries that are not pairs.
        count: how many pairs.
    """
    flat = np.where(np.isnan(matrix), -np.inf, matrix).ravel()
    largest = np.argpartition(-flat, min(count, flat.size - 1))[:count] if flat.size else np.arange(0)
    order = largest[np.lexsort((largest, -flat[largest]))]  # among equal values, the earlier pair first
    found = (divmod(int(index), matrix.shape[1]) for index in order if flat[index] > -np.inf)
    return [
        TokenPair(attended_from, attended_to, float(matrix[attended_from, attended_to]))
        for attended_from, attended_to in found
    ]


def pair_view(
    example: ActivationRecord,
    *,
    scale: ColourScale | None = None,
    width: SupportsIndex | None = DEFAULT_WIDTH,
    n_pairs: SupportsIndex = 5,
    matrix_width: SupportsIndex | None = MATRIX_WIDTH,
    title: str | None = None,
) -> str:
    """One example of an attention head, or of another component with one value per token pair, as static HTML.

    It shows the text with two bars at each token (see `HOW_TO_READ_BARS`), the strongest pairs, and the matrix of all
    pairs. Tokens may attend to all earlier tokens, or to those among the first few.

    Args:
        example: the text and its flattened pairs.
        scale: the colour scale; None: the scale of the example's values.
        width: how many tokens around the strongest pair the text shows; None: all.
        n_pairs: how many of the strongest pairs are listed.
        matrix_width: how many tokens around the strongest pair the matrix shows; None: all.
        title: a heading; text.

    Returns:
        HTML; show it in a notebook with `IPython.display.HTML`.

    Raises:
        InvalidRequestError: `example` is not an ActivationRecord, `scale` is not a ColourScale, `width` or
            `matrix_width` is not a whole number above 0, `n_pairs` is not a whole number from 0 on, or `title` is not
            a text.

    >>> import neuron_explainer as ne
    >>> record = ne.load_neuron("tiny", 0, 1, "attn_write_norm")
    >>> html = ne.pair_view(record.most_positive_activation_records[0])
    """
    checked_example(example)
    n_listed = checked_number("n_pairs", n_pairs, 0)
    n_rows = None if matrix_width is None else checked_number("matrix_width", matrix_width)
    scale = ColourScale.of(example.activations) if scale is None else checked_type("scale", scale, ColourScale)
    help_text = f'<div style="color:{MUTED};font-size:12px">{HOW_TO_READ_BARS}</div>'
    pairs = PairsOfText.of(example)
    body = pair_text(pairs, scale, width, n_listed) + pair_matrix(pairs, scale, n_rows, is_open=True)
    return card(heading_html(title) + legend(scale) + help_text + body)


def checked_example(example: object) -> ActivationRecord:
    """`example`, if it is one example.

    Raises:
        InvalidRequestError: it is a whole record, or something else.
    """
    if isinstance(example, NeuronRecord):
        raise InvalidRequestError(
            "example is a whole NeuronRecord. Give one of its examples, such as "
            "record.most_positive_activation_records[0]."
        )
    return checked_type("example", example, ActivationRecord)


def pair_text(pairs: PairsOfText, scale: ColourScale, width: SupportsIndex | None, n_pairs: int) -> str:
    """The text and the strongest pairs of `pair_view`, without the card."""
    tokens, matrix = pairs.tokens, pairs.matrix
    strongest = strongest_pairs(matrix, max(1, n_pairs))
    excerpt = excerpt_around(strongest[0].attended_from if strongest else 0, len(tokens), width)
    pieces = text_pieces(tokens, excerpt.positions)
    attends_most, attended_most = _largest(matrix), _largest(matrix.T)
    elements = []
    for piece in pieces:
        attends = {position: attends_most[position] for position in piece.positions}
        attended = {position: attended_most[position] for position in piece.positions if position < matrix.shape[1]}
        text = token_html(piece.text)
        if strongest and {strongest[0].attended_from, strongest[0].attended_to} & set(piece.positions):
            text = f"<b>{text}</b>"
        said = {
            position: _said(tokens, attends[position], "attends most to", "attention from it is left out")
            + " · "
            + (
                _said(tokens, attended[position], "attended to most by", "attention to it is left out")
                if position in attended
                else "attention to it is not part of the record"
            )
            for position in piece.positions
        }
        above, below = (_bar(scale, list(each.values())) for each in (attends, attended))
        style = f"border-top:4px solid {above};border-bottom:4px solid {below}"
        elements.append(token_element(text, hover_text(piece, tokens, said), style, pairs.token_mark(piece.start)))
    return excerpt_html(pieces, elements, excerpt) + _listed_pairs(strongest[:n_pairs], pairs, scale)


def strongest_pairs_html(pairs: PairsOfText, scale: ColourScale, count: int) -> str:
    """The strongest pairs of a text, one after the other."""
    return _listed_pairs(strongest_pairs(pairs.matrix, count), pairs, scale)


def _listed_pairs(strongest: Sequence[TokenPair], pairs: PairsOfText, scale: ColourScale) -> str:
    listed = "".join(_listed_pair(pair, pairs, scale) for pair in strongest)
    return f'<div style="{_PAIRS_STYLE}">{listed}</div>'


_Strongest = tuple[int, float] | None
"""A position and its value."""


def _largest(rows: NDArray[np.float64]) -> list[_Strongest]:
    """The position of the largest value of each row, and the value; None if no pair of the row is shown."""
    if not rows.size:
        return [None] * len(rows)
    is_missing = np.isnan(rows)
    numbers = np.where(is_missing, -np.inf, rows)
    positions = numbers.argmax(axis=1)
    values = numbers[np.arange(len(rows)), positions]
    found = zip(positions.tolist(), values.tolist(), np.asarray(is_missing.all(axis=1)).tolist(), strict=True)
    return [None if is_empty else (position, value) for position, value, is_empty in found]


def _said(tokens: Sequence[str], strongest: _Strongest, words: str, without: str) -> str:
    return without if strongest is None else f"{words} {_named(tokens, strongest[0])}: {format_value(strongest[1])}"


def _bar(scale: ColourScale, strongest: Sequence[_Strongest]) -> str:
    """The colour of the strongest; none if no pair is shown."""
    values = [each[1] for each in strongest if each is not None]
    return scale.background(max(values)) if values else "transparent"


def _named(tokens: Sequence[str], position: int) -> str:
    return f"{token_label(tokens[position])} ({position})"


def _listed_pair(pair: TokenPair, pairs: PairsOfText, scale: ColourScale) -> str:
    """A pair as a line: the value on its colour, the token that attends, and the token that it attends to."""
    attended_from, attended_to = (
        f'<bdi title="position {position}">{token_html(pairs.tokens[position]).replace("<br>", "")}</bdi>'
        f'<span style="color:{MUTED};font-size:11px">&nbsp;{position}</span>'
        for position in (pair.attended_from, pair.attended_to)
    )
    value = f'<span style="{scale.style(pair.value)};padding:0 4px;border-radius:3px">{format_value(pair.value)}</span>'
    mark = _after_space(pairs.pair_mark(pair.attended_from, pair.attended_to))
    return f'<span class="ne-pair"{mark}>{value} {attended_from} attends to {attended_to}</span>'


def _after_space(attribute: str) -> str:
    return f" {attribute}" if attribute else ""


def pair_matrix(
    pairs: PairsOfText, scale: ColourScale, width: int | None, *, is_open: bool = False, grid_mark: str = ""
) -> str:
    """The pairs as a triangle of coloured cells, one row per token that attends, in a `details` element.

    Each row ends with the token's text, which labels both the row and, read downwards, the column. `grid_mark` is a
    further attribute of the table.
    """
    tokens, matrix, n_tokens = pairs.tokens, pairs.matrix, len(pairs.tokens)
    strongest = strongest_pairs(matrix, 1)
    if not strongest:
        return ""
    middle = (strongest[0].attended_from + strongest[0].attended_to + 1) // 2
    excerpt = excerpt_around(middle, n_tokens, width)
    names = {position: escaped(_named(tokens, position)) for position in excerpt.positions}
    rows = []
    for attended_from in excerpt.positions:
        cells = []
        values = matrix[attended_from].tolist()
        for attended_to in range(excerpt.start, attended_from + 1):
            if attended_to >= len(values) or math.isnan(value := values[attended_to]):
                cells.append("<td></td>")
                continue
            hover = f"{names[attended_from]} to {names[attended_to]}: {format_value(value)}"
            mark = _after_space(pairs.pair_mark(attended_from, attended_to))
            cells.append(f'<td bgcolor="{scale.background(value)}" title="{hover}"{mark}></td>')
        label = f'<td class="ne-label" colspan="{excerpt.stop - attended_from}" style="text-align:left">'
        label += f"<bdi>{token_html(tokens[attended_from]).replace('<br>', '')}</bdi></td>"
        # Without a colour of its own, a row would get the stripes of the notebook's theme.
        rows.append(f'<tr style="background-color:{PAPER}">{"".join(cells)}{label}</tr>')
    is_whole = len(excerpt.positions) == n_tokens
    shown = "all token pairs" if is_whole else f"pairs of tokens {excerpt.start}–{excerpt.stop - 1}"
    style = f"font-size:11px;background-color:{PAPER};color:{INK}"
    table = f'<table class="ne-pairs" style="{style}"{_after_space(grid_mark)}>{"".join(rows)}</table>'
    summary = f'<summary style="color:{MUTED};font-size:12px">matrix of {shown}: rows attend to columns</summary>'
    return f"<details{' open' if is_open else ''}>{summary}{table}</details>"
