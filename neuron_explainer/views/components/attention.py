"""One head's attention on a text: whom a token attends to, which tokens attend to it, the pattern, how far back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.records import ActivationRecord
from neuron_explainer.views.attribution.cells import section, side_by_side, token_mark
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.document import LINE, MUTED
from neuron_explainer.views.heatmap import format_value, heatmap_text, legend
from neuron_explainer.views.token_pairs import PairsOfText, pair_matrix, strongest_pairs_html
from neuron_explainer.views.token_text import escaped, token_label

PATTERN_WIDTH = 40
"""How many tokens the pattern of a long text shows."""

TEXT_WIDTH = 512
"""How many tokens of a long text are shown around the strongest, for each direction."""

_N_STRONGEST = 24
"""Pairs of a text whose pattern is not shown whole."""
_N_DISTANCES, _HEIGHT = 24, 60


def attention_section(example: ActivationRecord, position: int, scale: ColourScale) -> str:
    """A head on one text, with both directions of one token at once.

    Of a text that is longer than its pattern, the strongest pairs are listed.

    Args:
        example: the text, with a value for each pair of tokens.
        position: the token.
        scale: the head's colour scale.
    """
    pairs = PairsOfText.of(example)
    matrix = pairs.matrix
    of_token = f"“{token_label(example.tokens[position])}” at position {position}"
    reads = _filled(matrix[position], len(example.tokens))
    is_read = matrix[:, position] if position < matrix.shape[1] else np.full(len(example.tokens), np.nan)
    parts = [
        legend(scale),
        _direction(f"{of_token} attends to", example, reads, scale),
        _direction(f"These attend to {of_token}", example, is_read, scale),
        section("Pattern", pair_matrix(pairs, scale, PATTERN_WIDTH, is_open=True), "row: attends; column: attended to"),
        section("How far back", _distance_bars(matrix, scale), "mean over the tokens, by distance"),
    ]
    listed = ""
    if len(example.tokens) > PATTERN_WIDTH:
        listed = section("Strongest pairs of the whole text", strongest_pairs_html(pairs, scale, _N_STRONGEST))
    return "".join(parts[:3]) + side_by_side(*parts[3:]) + listed


def _filled(row: NDArray[np.float64], n_tokens: int) -> NDArray[np.float64]:
    """A row of pairs as one number for each token; NaN for those that are not part of the record."""
    values = np.full(n_tokens, np.nan)
    values[: len(row)] = row
    return values


def _direction(words: str, example: ActivationRecord, values: NDArray[np.float64], scale: ColourScale) -> str:
    """The text, coloured by the attention of, or to, one token; tokens without a pair stay without colour."""
    known = [0.0 if np.isnan(value) else float(value) for value in values]
    text = heatmap_text(example.tokens, known, scale, TEXT_WIDTH, token_mark)
    return f'<div style="{SMALL};margin-top:8px">{escaped(words)}</div>{text}'


def _distance_bars(matrix: NDArray[np.float64], scale: ColourScale) -> str:
    """A bar for each distance, up to the largest shown."""
    if matrix.shape[0] != matrix.shape[1]:
        return f'<div style="{SMALL}">The record has only the first {matrix.shape[1]} attended-to tokens.</div>'
    diagonals = (np.diagonal(matrix, -distance) for distance in range(min(len(matrix), _N_DISTANCES)))
    means = [float(np.nanmean(each)) if not np.isnan(each).all() else 0.0 for each in diagonals]
    tallest = max(map(abs, means)) or 1.0
    bars = "".join(
        f'<div title="{distance} back: {escaped(format_value(mean))}" style="flex:1 1 0;min-width:4px;'
        f"height:{max(1, round(_HEIGHT * abs(mean) / tallest))}px;box-sizing:border-box;border:1px solid {MUTED};"
        f'background-color:{scale.background(mean)}"></div>'
        for distance, mean in enumerate(means)
    )
    return (
        f'<div class="ne-distances" style="max-width:340px"><div style="display:flex;align-items:flex-end;'
        f'height:{_HEIGHT}px;border-bottom:1px solid {LINE}">{bars}</div><div style="display:flex;'
        f'justify-content:space-between;{SMALL}"><span>itself</span> <span>{len(means) - 1} back</span></div></div>'
    )
