"""A sum of parts as a waterfall: each bar begins where the one before it ends, and the last one is the value.

The bars are `span` elements, so that where styles are dropped their labels are one line of text.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby

from neuron_explainer.views.attribution.cells import DOWN, UP, signed
from neuron_explainer.views.attribution.waterfalls.part_sums import PartSum, Term
from neuron_explainer.views.colour import background_of_level
from neuron_explainer.views.document import INK, LINE, MUTED, PAPER
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped

_WIDEST = 44  # pixels of a bar
_HEIGHT = 150  # pixels from the lowest to the highest level
_PALE_UP, _PALE_DOWN = background_of_level(10), background_of_level(-10)
_FILLS = ((UP, DOWN), (_PALE_UP, _PALE_DOWN), (PAPER, PAPER))  # of a layer's first, second and further kinds
_NOWRAP = "white-space:nowrap"


@dataclass(frozen=True)
class Axis:
    """The lowest and the highest level that bars run through."""

    low: float
    high: float

    @classmethod
    def of(cls, sums: Iterable[PartSum]) -> "Axis":
        """The axis that some sums share."""
        levels = [level for total in sums for level in _levels(total)]
        return cls(min(levels), max(levels))

    def pixel(self, level: float) -> int:
        """How far below the top a level is."""
        return round((self.high - level) / ((self.high - self.low) or 1.0) * _HEIGHT)


def waterfall(total: PartSum, axis: Axis | None = None) -> str:
    """The sum: its terms in words and numbers, by kind, and the bars of all terms.

    Args:
        total: the sum.
        axis: the axis; None: its own.
    """
    return _equation(total) + _chart(total, Axis.of([total]) if axis is None else axis)


def _terms(total: PartSum) -> list[Term]:
    return [*total.terms, Term("residue", None, total.residue)]


def _levels(total: PartSum) -> list[float]:
    """Where each bar begins, and where the last one ends."""
    return [0.0, *accumulate(term.effect for term in _terms(total))]


def _equation(total: PartSum) -> str:
    cells = [
        f'<span style="padding:0 16px 4px 0"><span style="color:{MUTED};font-size:12px">{escaped(name)}</span> '
        f'<b style="{_NOWRAP}">{signed(number)}</b></span>'
        for name, number in (*total.by_kind.items(), ("residue", float(f"{total.residue:.2g}")))
    ]
    cells.append(f'<span style="padding:0 0 4px 0"><b style="{_NOWRAP}">= {format_value(total.value)}</b></span>')
    return f'<div class="ne-sum" style="display:flex;flex-wrap:wrap;margin:4px 0">{" ".join(cells)}</div>'


def _chart(total: PartSum, axis: Axis) -> str:
    """The bars; empty if a number is infinite or NaN."""
    terms, levels = _terms(total), _levels(total)
    if not all(map(math.isfinite, (*levels, total.value, axis.low, axis.high))):
        return ""
    kinds = _kinds_of_layers(terms)
    groups = []
    steps = zip(terms, levels, levels[1:], strict=False)
    for layer, own in groupby(steps, key=lambda step: step[0].kind if step[0].layer is None else step[0].layer):
        columns = [_column(axis, before, after, term, kinds) for term, before, after in own]
        groups.append(_group(str(layer), columns, isinstance(layer, int)))
    groups.append(_group("sum", [_bar(axis, 0.0, total.value, INK, INK, f"sum: {format_value(total.value)}")], False))
    return (
        f'<div class="ne-waterfall" style="overflow-x:auto"><div style="display:flex;padding-top:4px">'
        f"{' '.join(groups)}</div></div>{_legend(kinds)}"
    )


def _kinds_of_layers(terms: list[Term]) -> dict[str, int]:
    """The kinds that layers have, each with its number."""
    kinds: dict[str, int] = {}
    for term in terms:
        if term.layer is not None:
            kinds.setdefault(term.kind, len(kinds))
    return kinds


def _fill(kind: int, effect: float) -> str:
    return _FILLS[min(kind, len(_FILLS) - 1)][effect < 0]


def _column(axis: Axis, before: float, after: float, term: Term, kinds: dict[str, int]) -> str:
    place = "" if term.layer is None else f"layer {term.layer}, "
    hover = f"{place}{term.kind}: {signed(term.effect)}, sum so far {format_value(after)}"
    edge = DOWN if term.effect < 0 else UP
    return _bar(axis, before, after, _fill(kinds.get(term.kind, 0), term.effect), edge, hover)


def _bar(axis: Axis, before: float, after: float, fill: str, edge: str, hover: str) -> str:
    """A column with a bar from one level to the next, and a line at 0 where the bar is not."""
    zero = axis.pixel(0.0)
    top, bottom = sorted((axis.pixel(before), axis.pixel(after)))
    bottom = max(bottom, top + 1)
    bar = f"border:1px solid {edge};background-color:{fill};box-sizing:border-box;margin:0 1px"
    pieces = [(top, bottom, bar)]
    if not top <= zero < bottom:
        pieces.append((zero, zero + 1, f"background-color:{MUTED}"))
    inner = "".join(_stacked(sorted(pieces)))
    return f'<span title="{escaped(hover)}" style="flex:1 1 0;min-width:6px;height:{_HEIGHT + 2}px">{inner}</span>'


def _stacked(pieces: list[tuple[int, int, str]]) -> Iterator[str]:
    """Boxes below each other, each from one pixel to another."""
    end = 0
    for top, bottom, style in pieces:
        if top > end:
            yield f'<span style="display:block;height:{top - end}px"></span>'
        yield f'<span style="display:block;{style};height:{bottom - top}px"></span>'
        end = bottom


def _group(label: str, columns: list[str], is_layer: bool) -> str:
    """The columns of a layer, or one column, above a label."""
    number = len(columns)
    size = f"flex:{number} 1 0;min-width:{max(13, 6 * number)}px;max-width:{_WIDEST * number}px"
    size = size if is_layer else "flex:0 0 auto;padding:0 3px"
    pixels = 10 if is_layer else 11
    return (
        f'<span style="{size};border-right:1px solid {LINE}"><span style="display:flex">{"".join(columns)}</span>'
        f'<span style="display:block;text-align:center;font-size:{pixels}px;color:{MUTED};{_NOWRAP}">{escaped(label)}'
        "</span></span>"
    )


def _legend(kinds: dict[str, int]) -> str:
    """What the bars of a layer are, from left to right."""
    if not kinds:
        return ""
    boxes = ", ".join(
        f'<span style="display:inline-block;width:10px;height:10px;box-sizing:border-box;border:1px solid {UP};'
        f'background-color:{_fill(number, 1.0)}"></span> {escaped(kind)}'
        for kind, number in kinds.items()
    )
    return (
        f'<div style="color:{MUTED};font-size:12px;margin-top:2px">numbers: layers, each with {boxes} · orange raises '
        "the sum, blue lowers it</div>"
    )
