"""Total effects of attention and MLPs by layer and token: a map of each, layers from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuron_explainer.views.attribution.cells import (
    node_mark,
    quoted,
    section,
    side_by_side,
)
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.experiments.map_table import label_of_token, map_table
from neuron_explainer.views.heatmap import Excerpt, excerpt_around, format_value, legend
from neuron_explainer.views.token_text import escaped, token_label

if TYPE_CHECKING:
    from neuron_explainer.attribution.attribution import Attribution

_MAPS = {"attention_from": ("attention from", "ATTN"), "mlp": ("MLP", "MLP"), "latents": ("latents", None)}
"""The columns of the table: their titles, and the part of a layer that a cell shows, if it has a name."""

_N_TOKENS = 32  # of a longer prompt, those around the largest effect
_SMALL = f"color:{MUTED};font-size:12px"

_Effects = Mapping[tuple[int, int], float]
"""Effects by layer and position."""


def layer_map_html(why: Attribution) -> str:
    """Total effects by layer and token as static HTML: of attention from the token, of MLPs at it, of latents at it.

    Of a prompt of more than 32 tokens those around the largest effect are shown.

    Args:
        why: the answer. Of answers of several tokens there are maps for each.
    """
    frame = why.tokens(by_layer=True)
    columns = [name for name in _MAPS if name in frame.columns and (frame[name] != 0).any()]
    scale = ColourScale.of(number for name in columns for number in frame[name])
    rows = frame.to_dict("records")
    shown = [_maps(own, columns, scale) for own in _passes(rows)] if columns else []
    if not shown:
        shown = [f'<div style="{_SMALL}">No attention and no MLP has an effect.</div>']
    content = (legend(scale) if columns else "") + "".join(shown)
    note = "activation times gradient; layers from left to right"
    return card(section("Total effects by layer and token", content, note, space=0), "ne-layer-map")


def _passes(rows: Sequence[dict[Any, Any]]) -> list[Sequence[dict[Any, Any]]]:
    """The rows of each pass. Each begins with the first token of the lowest layer."""
    first = (rows[0]["layer"], rows[0]["position"])
    starts = [place for place, row in enumerate(rows) if (row["layer"], row["position"]) == first]
    return [rows[start:stop] for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True)]


def _maps(rows: Sequence[dict[Any, Any]], columns: Sequence[str], scale: ColourScale) -> str:
    tokens = {row["position"]: row["token"] for row in rows}
    peak = max(rows, key=lambda row: max(abs(row[name]) for name in columns))["position"]
    excerpt = excerpt_around(peak, len(tokens), _N_TOKENS)
    answer = rows[0].get("answer")
    heading = "" if answer is None else f'<div style="margin-top:6px"><b>{quoted(answer)}</b></div>'
    by_place = {name: {(row["layer"], row["position"]): row[name] for row in rows} for name in columns}
    maps = [_map(name, own, tokens, excerpt, scale) for name, own in by_place.items()]
    left_out = ""
    if excerpt.stop - excerpt.start < len(tokens):
        text = f"tokens {excerpt.start}–{excerpt.stop - 1} of {len(tokens)}, around the largest effect"
        left_out = f'<div style="{_SMALL}">{text}</div>'
    return heading + left_out + side_by_side(*maps)


def _map(name: str, effects: _Effects, tokens: Mapping[int, str], excerpt: Excerpt, scale: ColourScale) -> str:
    title, part = _MAPS[name]
    layers = sorted({layer for layer, _ in effects})
    rows = (
        (
            label_of_token(position, tokens[position]),
            "".join(
                _cell(layer, position, tokens[position], effects[layer, position], part, scale) for layer in layers
            ),
        )
        for position in excerpt.positions
    )
    named = f"Total effects by layer and token: {title}"
    table = map_table(named, "token", "layer", [str(layer) for layer in layers], rows)
    return f'<div style="{_SMALL};margin-top:4px">{escaped(title)}</div>{table}'


def _cell(layer: int, position: int, token: str, effect: float, part: str | None, scale: ColourScale) -> str:
    place = f"layer {layer}, {token_label(token)} ({position})"
    hover = escaped(f"{place}: {format_value(effect)}")
    mark = "" if part is None else f" {node_mark(f'L{layer}{part}@{position}')}"
    return f'<td bgcolor="{scale.background(effect)}" title="{hover}"{mark}></td>'
