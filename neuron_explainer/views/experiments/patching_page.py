"""What patching found, as static HTML: the two prompts, a map of patches, and the strongest nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import frame_html, node_mark, section, token_cell
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card, html_table
from neuron_explainer.views.experiments.map_table import label_of_row, label_of_token, map_table
from neuron_explainer.views.experiments.patch_map import PatchMap, map_of_patches
from neuron_explainer.views.heatmap import format_value, legend
from neuron_explainer.views.token_text import escaped, token_label

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.experiments.patching.patching import Patching

_MOST_ROWS, _MOST_COLUMNS = 32, 24
_N_STRONGEST = 10
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
    top = section("Strongest nodes", _top(found), "score: 0 the corrupted run, 1 the clean one")
    return card(heading + _map(found) + top + _checked(found), "ne-patching")


def scale_of_patches(found: Patching) -> ColourScale:
    """The colours of changes of the score; white: none."""
    return ColourScale.of(found.changes)


def said_of_patch(found: Patching, number: int) -> str:
    """A node's name, score and value; text."""
    score, value = format_value(float(found.scores[number])), format_value(float(found.values[number]))
    spread = "" if found.score_std is None else f" ± {format_value(float(found.score_std[number]))}"
    return f"{found.names[number]}: score {score}{spread}, value {value}"


def _values(found: Patching) -> str:
    """Both runs: their prompts and the metric."""
    runs = (("clean", found.clean, found.clean_value), ("corrupted", found.corrupted, found.corrupted_value))
    rows = []
    for name, prompt, value in runs:
        start = len(prompt.token_strings) - _MOST_ROWS * 2
        left_out = "⋯" if start > 0 else ""
        text = "".join(token_cell(token) for token in prompt.token_strings[max(0, start) :])
        rows.append([name, f"{left_out}{text}", format_value(value)])
    heads = ["run", "prompt" + (f" (the first of {len(found.pairs)} pairs)" if found.pairs else "")]
    return html_table([*map(escaped, heads), escaped(found.request.title)], rows, {2})


def _map(found: Patching) -> str:
    shown, scale = map_of_patches(found, _MOST_ROWS, _MOST_COLUMNS), scale_of_patches(found)
    rows = (
        (
            _label(found, shown, row),
            "".join(_cell(found, shown, row, column, scale) for column in range(len(shown.columns))),
        )
        for row in shown.rows
    )
    corner = "layer" if "layer" in found.request.by else ""
    table = map_table("Change of the score by each patch", corner, shown.column_labels, rows)
    left_out = f'<div style="{_SMALL}">{escaped(shown.note)}</div>' if shown.note else ""
    return section("Change of the score", legend(scale) + left_out + table, "white: as in the run that is patched")


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
    frame = found.top(_N_STRONGEST)
    columns = [name for name in frame.columns if name not in (*found.request.by, "n")]
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
    agreement = "" if math.isnan(found.spearman) else f"; Spearman's rank correlation {found.spearman:.2f}"
    content = frame_html(
        table.head(_N_STRONGEST), {"estimate": scale, "measured": scale}, ["name", "estimate", "measured"]
    )
    rest = f" of the {len(table)} strongest" if len(table) > _N_STRONGEST else ""
    note = f"changes of {found.request.title}, estimated and measured{rest}{agreement}"
    return section("Estimates checked", content, note)
