"""Values as bars on one scale, one of them with an interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuron_explainer.views.attribution.cells import UP
from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.document import INK, LINE, MUTED, html_table
from neuron_explainer.views.explanations.small_tables import wrapped_text
from neuron_explainer.views.heatmap import format_value

_WIDTH = 220  # pixels
_UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True)
class ScoreRow:
    """A value.

    Attributes:
        name: what it is of; text.
        value: the value; NaN where it is not defined.
        interval: from where to where it may lie; NaN if unknown.
        is_main: whether it is what the others are beside.
    """

    name: str
    value: float
    interval: tuple[float, float] = _UNKNOWN
    is_main: bool = False


def score_bars(rows: Sequence[ScoreRow]) -> str:
    """A table of values with bars from 0 on one scale: 0 to 1, −1 to 1, or as far as the values go.

    Args:
        rows: the values.
    """
    low, high = _scale(number for row in rows for number in (row.value, *row.interval))
    cells = [[_name(row), _number(row), _bar(row, low, high)] for row in rows]
    has_interval = any(map(math.isfinite, itertools.chain.from_iterable(row.interval for row in rows)))
    ends = f'<span style="{SMALL}">{format_value(low)} to {format_value(high)}</span>'
    head = f'<span style="{SMALL}">{"value (95 % interval)" if has_interval else "value"}</span>'
    return html_table(["", head, ends], cells, {1})


def _scale(numbers: Iterable[float]) -> tuple[float, float]:
    known = [number for number in numbers if math.isfinite(number)]
    low, high = min([0.0, *known]), max([1.0, *known])
    return (min(-1.0, low) if low < 0 else 0.0), high


def _name(row: ScoreRow) -> str:
    name = wrapped_text(row.name)
    return f"<b>{name}</b>" if row.is_main else name


def _number(row: ScoreRow) -> str:
    if not math.isfinite(row.value):
        return "not defined"
    low, high = row.interval
    text = f"{row.value:.2f}".replace("-", "−")
    if not (math.isfinite(low) and math.isfinite(high)):
        return text
    between = f"{low:.2f} to {high:.2f}".replace("-", "−")
    return f'{text} <span style="{SMALL};white-space:nowrap" title="95 % of resampled texts">({between})</span>'


def _bar(row: ScoreRow, low: float, high: float) -> str:
    """A bar from 0 to the value, and the interval as a line over it. What it says stands beside it, too."""

    def at(value: float) -> int:
        return round(_WIDTH * (min(max(value, low), high) - low) / (high - low))

    parts = [_box(at(0), 1, 0, 13, MUTED)]
    if math.isfinite(row.value):
        start, end = sorted((at(0), at(row.value)))
        parts.insert(0, _box(start, max(end - start, 1), 2, 9, UP if row.is_main else MUTED))
    first, last = row.interval
    if math.isfinite(first) and math.isfinite(last):
        parts += [_box(at(first), max(at(last) - at(first), 1), 6, 1, INK)]
        parts += [_box(at(end), 1, 3, 7, INK) for end in (first, last)]
    return (
        f'<span style="display:inline-block;position:relative;width:{_WIDTH + 1}px;height:13px;'
        f'vertical-align:middle;background-color:{LINE}">{"".join(parts)}</span>'
    )


def _box(left: int, width: int, top: int, height: int, colour: str) -> str:
    place = f"position:absolute;left:{left}px;top:{top}px;width:{width}px;height:{height}px"
    return f'<span style="{place};background-color:{colour}"></span>'
