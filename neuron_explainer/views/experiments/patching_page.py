"""What patching found, as static HTML: the two prompts, a map of patches, and the strongest nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.views.attribution.cells import frame_html, node_mark, section, shown_columns
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.experiments.map_table import label_of_row, label_of_token, map_table
from neuron_explainer.views.experiments.patch_map import PatchMap, map_of_patches
from neuron_explainer.views.experiments.two_runs import two_runs_html
from neuron_explainer.views.heatmap import format_value, legend
from neuron_explainer.views.token_text import escaped, token_label

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.experiments.patching.patching import Patching

_MOST_ROWS, _MOST_COLUMNS = 32, 24
_N_STRONGEST = 10
_LEAST_CHANGE = 1e-5
_SMALL = f"color:{MUTED};font-size:12px"
_WORDS = {
    "denoise": "the corrupted run, with activations of the clean one",
    "noise": "the clean run, with activations of the corrupted one",
}
_METHODS = {
    "exact": "each patch measured",
    "gradient": "estimated: change times gradient",
    "integrated": "estimated: integrated gradients",
}


def patching_html(found: Patching) -> str:
    """The page of a result, on a card.

    Args:
        found: the result. Of several pairs, the tokens are those of the first, and numbers are means.
    """
    request = found.request
    title = f"Patching {request.at} by {' × '.join(request.by)}"
    note = f"{_WORDS[request.direction.value]}; {_METHODS[request.method.value]}"
    heading = section(title, _values(found), note, space=0)
    said = "value: the metric; score: 0 the corrupted run, 1 the clean one"
    said += "; std: the standard deviation over pairs" if len(found.pairs) > 1 else ""
    top = section("Strongest nodes", _top(found), said)
    return card(heading + _map(found) + top + _checked(found), "ne-patching")


def scale_of_patches(found: Patching) -> ColourScale:
    """The colours of changes of the score; without colour: none, or what rounding may be."""
    return ColourScale.of(np.where(_is_rounding(found), 0.0, found.changes))


def _is_rounding(found: Patching) -> NDArray[np.bool_]:
    """Which changes of the score are none: beside the largest one they may be rounding."""
    sizes = np.nan_to_num(np.abs(found.changes))
    return np.asarray(sizes <= _LEAST_CHANGE * max(1.0, sizes.max(initial=0.0)))


def said_of_patch(found: Patching, number: int) -> str:
    """A node's name, score and value; text."""
    score, value = format_value(float(found.scores[number])), format_value(float(found.values[number]))
    spread = "" if found.score_std is None else f" ± {format_value(float(found.score_std[number]))}"
    return f"{found.names[number]}: score {score}{spread}, value {value}"


def _values(found: Patching) -> str:
    """Both runs: their prompts and the metric."""
    values, request = (found.clean_value, found.corrupted_value), found.request
    tokens = found.clean.token_strings, found.corrupted.token_strings
    return two_runs_html(*tokens, values, request.title, len(found.pairs), request.hints)


def _map(found: Patching) -> str:
    shown, scale = map_of_patches(found, _MOST_ROWS, _MOST_COLUMNS), scale_of_patches(found)
    rows = (
        (
            _label(found, shown, row),
            "".join(_cell(found, shown, row, column, scale) for column in range(len(shown.columns))),
        )
        for row in shown.rows
    )
    title = "Change of the score by each patch"
    table = map_table(title, shown.rows_are, shown.columns_are, shown.column_labels, rows)
    left_out = f'<div style="{_SMALL}">{escaped(shown.note)}</div>' if shown.note else ""
    return section("Change of the score", legend(scale) + left_out + table, "no colour: as in the run that is patched")


def _label(found: Patching, shown: PatchMap, row: int | None) -> str:
    if not shown.of_positions or row is None:
        return label_of_row("all" if row is None else str(row))
    token, other = found.clean.token_strings[row], found.corrupted.token_strings[row]
    return label_of_token(row, token, None if token == other else other, varies=found.varies_at(row))


def _cell(found: Patching, shown: PatchMap, row: int | None, column: int, scale: ColourScale) -> str:
    number = shown.cells.get((row, shown.columns[column]))
    if number is None:
        return "<td></td>"
    said = said_of_patch(found, number)
    if shown.of_positions and row is not None:
        said += f" · {token_label(found.clean.token_strings[row])}{' …' if found.varies_at(row) else ''}"
    colour = scale.background(float(found.changes[number]))
    return f'<td {node_mark(found.names[number])} bgcolor="{colour}" title="{escaped(said)}"></td>'


def _top(found: Patching) -> str:
    n_changed = int((~_is_rounding(found)).sum())
    frame = found.top(max(1, min(_N_STRONGEST, n_changed)))
    columns = [name for name in shown_columns(frame) if name not in (*found.request.by, "n")]
    positions = frame["position"].tolist() if "position" in found.request.by else []
    if positions and not any(map(found.varies_at, positions)):
        frame = frame.assign(token=[found.clean.token_strings[position] for position in positions])
        columns.insert(1, "token")
    scales = {"score": scale_of_patches(found)} if found.untouched_score == 0 else {}
    return frame_html(frame, scales, columns)


def _checked(found: Patching) -> str:
    table: pandas.DataFrame | None = found.checked
    if table is None:
        return ""
    scale = ColourScale.of([*table["estimate"], *table["measured"]])
    shown = table.head(_N_STRONGEST)
    content = frame_html(shown, {"estimate": scale, "measured": scale}, ["name", "estimate", "measured"])
    which = f"; {len(shown)} of the {len(table)} that were checked" if len(table) > len(shown) else ""
    agreement = "" if math.isnan(found.spearman) else f"; Spearman's rank correlation {found.spearman:.2f}"
    return section("Estimates checked", content, f"changes of the metric{which}{agreement}")
