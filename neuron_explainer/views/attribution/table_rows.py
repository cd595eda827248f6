"""A table of an answer as JSON values, for a frontend module that shows, sorts and filters its rows."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from neuron_explainer.views.attribution.cells import about_column, is_missing, kind_of_column, shown_columns
from neuron_explainer.views.attribution.node_tables import effect_scales
from neuron_explainer.views.colour import N_LEVELS, background_of_level
from neuron_explainer.views.theme.dark import dark_of_level
from neuron_explainer.views.token_text import token_label
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

_LEVELS = range(-N_LEVELS, N_LEVELS + 1)
_PALETTE = [background_of_level(level) for level in _LEVELS]
_DARK_PALETTE = [dark_of_level(level) for level in _LEVELS]
_DIGITS = 6  # a cell shows four; two more keep the order


def rows_of(frame: pandas.DataFrame) -> dict[str, Any]:
    """A table as JSON values: what its columns are, its rows, and the colours of its effects.

    Args:
        frame: a table of nodes, as an answer, a comparison or `verify` gives it. Its index is left out, and so are
            columns without values.

    Returns:
        `columns`: for each its `name`, its `label` for readers, its `kind`: "name" (a node's name), "token" (text;
        whitespace and invisible characters are marks), "effect" (a number on a colour) or "number"; and what it is
        `about`, in words.
        `rows`: lists of values in the order of the columns; None where there is none; numbers with six significant
        digits, infinite ones as the largest there are.
        `palette`: the colours of effects, from the lowest to the highest, with zero in the middle.
        `dark_palette`: the same of dark pages.
        `limit`: for each column of effects the magnitude of the deepest colours. A value has the colour number
        round(value / limit * half) + half, where half is the number of the middle; from 0 to 2 * half.

    >>> import pandas
    >>> table = rows_of(pandas.DataFrame({"name": ["L2H3"], "token": [" a"], "direct_effect": [-0.5]}))
    >>> table["rows"], table["limit"]
    ([['L2H3', '·a', -0.5]], {'direct_effect': 0.5})
    """
    names = shown_columns(frame)
    kinds = {name: kind_of_column(name) for name in names}
    values = [_values(frame[name].tolist(), kinds[name]) for name in names]
    effects = [name for name in names if kinds[name] == "effect"]
    scales = effect_scales(frame, effects)
    return {
        "columns": [
            {"name": name, "label": name.replace("_", " "), "kind": kinds[name], "about": about_column(name)}
            for name in names
        ],
        "rows": list(map(list, zip(*values, strict=True))),
        "palette": list(_PALETTE),
        "dark_palette": list(_DARK_PALETTE),
        "limit": {name: _rounded(scales[name].limit or 1.0) for name in effects},
    }


def _values(column: list[Any], kind: str) -> list[Any]:
    if kind == "token":
        return [None if is_missing(value) else token_label(str(value)) for value in column]
    if kind == "name":
        return [without_steering(str(value)) for value in column]
    return [_number(value) for value in column]


def _number(value: Any) -> float | int | None:
    if type(value) is float:
        return _rounded(value) if math.isfinite(value) else _not_finite(value)
    if is_missing(value):
        return None
    return value if isinstance(value, int) else _number(float(value))


def _not_finite(value: float) -> float | None:
    """JSON has no infinite numbers; the largest there are stand in the same place of the order."""
    return None if math.isnan(value) else _rounded(math.copysign(sys.float_info.max, value))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
