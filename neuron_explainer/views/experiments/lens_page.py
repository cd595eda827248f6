"""What a lens reads in a prompt, as a page and as a figure: layers × tokens, the likeliest token in each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from neuron_explainer.views.attribution.cells import percentage, section
from neuron_explainer.views.colour import ColourScale, plotly_colour_scale
from neuron_explainer.views.document import INK, MONO, MUTED, PAPER, card
from neuron_explainer.views.heatmap import format_value, legend, token_element
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.token_text import escaped, plotly_label, token_html, token_label
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    from neuron_explainer.experiments.lenses.reading import LensReading

PROBABILITIES = ColourScale(0.0, 1.0)
_MOST_CELLS = 3000  # of the page, which takes about 200 bytes for each
_MOST_ASKED = 4
_MOST_CELLS_OF_FIGURE = 50_000
_CELL = "padding:0 4px;font-size:12px;line-height:1.5;white-space:nowrap;text-align:left"
_LONGEST_TOKEN = 14
_ROW_HEIGHT, _MARGINS = 22, 150  # pixels


@dataclass(frozen=True)
class ShownPart:
    """The rows and columns of a reading that are shown, by number; rows from the last layer down."""

    rows: list[int]
    columns: list[int]
    n_rows: int
    n_columns: int

    @classmethod
    def of(cls, n_rows: int, n_columns: int, most: int) -> ShownPart:
        """The last columns, of the last layers, as many as may be shown."""
        rows = min(n_rows, most)
        columns = max(1, min(n_columns, most // rows))
        return cls(
            list(range(n_rows - 1, n_rows - 1 - rows, -1)),
            list(range(n_columns - columns, n_columns)),
            n_rows,
            n_columns,
        )

    @property
    def note(self) -> str:
        """What is left out; text."""
        parts = []
        if len(self.columns) < self.n_columns:
            parts.append(f"the last {len(self.columns)} of {counted(self.n_columns, 'position')}")
        if len(self.rows) < self.n_rows:
            parts.append(f"the last {len(self.rows)} of {counted(self.n_rows, 'row')}")
        return f"Shown: {' and '.join(parts)}. The tables have all." if parts else ""


def lens_to_html(reading: LensReading) -> str:
    """The page, as static HTML on a card."""
    n_rows = len(reading.row_names)
    part = ShownPart.of(n_rows, len(reading.positions), _MOST_CELLS)
    hovers = _hovers(reading, part)
    tokens = _tops(reading, part)
    numbers, scale = reading.read.probabilities[..., 0].flatten(0, 1), _scale(reading)
    cells = [
        [
            _token_cell(tokens[place], hovers[place], scale.style(float(numbers[place])))
            for place in ((row, column) for column in part.columns)
        ]
        for row in part.rows
    ]
    grid = legend(scale, note="probability of the likeliest token") + _grid(reading, part, cells, reading.title)
    content = section(reading.title, grid, _how_to_read(reading), space=0)
    content += "".join(_asked_section(reading, part, number) for number in range(min(_MOST_ASKED, len(reading.asked))))
    if part.note:
        content += f'<div style="color:{MUTED};font-size:12px;margin-top:6px">{escaped(part.note)}</div>'
    return card(content)


def lens_figure(reading: LensReading) -> go.Figure:
    """The same heatmap as a plotly figure, with its page as the snapshot."""
    part = ShownPart.of(len(reading.row_names), len(reading.positions), _MOST_CELLS_OF_FIGURE)
    hovers, tokens = _hovers(reading, part), _tops(reading, part)
    rows = list(reversed(part.rows))  # plotly draws the first row at the bottom
    probabilities = reading.read.probabilities[..., 0].flatten(0, 1)[rows][:, part.columns]
    figure = go.Figure(
        go.Heatmap(
            z=probabilities.numpy(),
            zmin=0.0,
            zmax=_scale(reading).high or 1.0,
            colorscale=plotly_colour_scale(is_signed=False),
            text=[[plotly_label(_short(tokens[row, column])) for column in part.columns] for row in rows],
            texttemplate="%{text}" if len(rows) * len(part.columns) <= _MOST_CELLS else None,
            textfont={"family": "monospace", "size": 10},
            customdata=[[_as_lines(hovers[row, column]) for column in part.columns] for row in rows],
            hovertemplate="%{customdata}<extra></extra>",
            colorbar={"title": "probability"},
        )
    )
    texts = [plotly_label(_short(reading.prompt.token_strings[reading.positions[column]])) for column in part.columns]
    figure.update_xaxes(tickmode="array", tickvals=list(range(len(texts))), ticktext=texts, title="token")
    names = [reading.row_names[row] for row in rows]
    rows_are = "head" if reading.of == "heads" else "layer"
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(names))), ticktext=names, title=rows_are)
    height = min(max(_MARGINS + _ROW_HEIGHT * len(names), 300), 1600)
    figure.update_layout(template="plotly_white", title=escaped(reading.title), height=height)
    return SnapshotFigure(figure, lens_to_html(reading))


def _tops(reading: LensReading, part: ShownPart) -> dict[tuple[int, int], str]:
    """The likeliest token of each cell."""
    ids = reading.read.token_ids[..., 0].flatten(0, 1)
    places = [(row, column) for row in part.rows for column in part.columns]
    texts = reading.texts_of([int(ids[place]) for place in places])
    return dict(zip(places, texts, strict=True))


def _hovers(reading: LensReading, part: ShownPart) -> dict[tuple[int, int], str]:
    """What is said of each cell on hover: where it is, the top tokens, and how far it is from the end."""
    read = reading.read
    ids, shares = read.token_ids.flatten(0, 1), read.probabilities.flatten(0, 1)
    divergences = read.divergences.flatten(0, 1)
    names, tokens = reading.row_names, reading.prompt.token_strings
    places = [(row, column) for row in part.rows for column in part.columns]
    texts = iter(reading.texts_of([token for place in places for token in ids[place].tolist()]))
    said = {}
    for row, column in places:
        position = reading.positions[column]
        tops = [f"{token_label(next(texts))} {percentage(share)}" for share in shares[row, column].tolist()]
        divergence = format_value(round(float(divergences[row, column]), 4))
        lines = [f"{names[row]} at {position}: {token_label(tokens[position])}", *tops, f"KL {divergence} nats"]
        said[row, column] = "\n".join(lines)
    return said


def _scale(reading: LensReading) -> ColourScale:
    """Of the residual stream up to 1. What a part writes has small logits, so up to the largest probability of it."""
    if reading.of == "resid":
        return PROBABILITIES
    return ColourScale(0.0, max(0.0, float(reading.read.probabilities.nan_to_num(0.0).max())))


def _token_cell(token: str, hover: str, style: str) -> str:
    return _cell(_token(token, hover), style)


def _token(token: str, hover: str) -> str:
    return token_element(token_html(_short(token)).replace("<br>", ""), hover)


def _cell(html: str, style: str, hover: str = "") -> str:
    ground = style or f"background-color:{PAPER}"
    title = f' title="{escaped(hover)}"' if hover else ""
    return f'<td style="{_CELL};{ground}"{title}>{html}</td>'


def _how_to_read(reading: LensReading) -> str:
    """What rows and columns are; text."""
    what = "heads" if reading.of == "heads" else "layers"
    return f"rows: {what}, the last on top; columns: the prompt's tokens"


def _grid(reading: LensReading, part: ShownPart, cells: list[list[str]], title: str, align: str = "left") -> str:
    """The table: a row for each layer, the last on top, and the prompt's tokens above."""
    label = f"{_CELL};background-color:{PAPER};color:{MUTED};font-weight:normal"
    tokens = reading.prompt.token_strings
    heads = "".join(
        f'<th scope="col" style="{label};text-align:{align}">{_token(token, hover)}</th>'
        for token, hover in (
            (tokens[place], f"{token_label(tokens[place])} · position {place}")
            for place in (reading.positions[column] for column in part.columns)
        )
    )
    names = reading.row_names
    body = "".join(
        f'<tr style="background-color:{PAPER}"><th scope="row" style="{label}">{escaped(names[row])}</th>'
        f"{''.join(row_cells)}</tr>"
        for row, row_cells in zip(part.rows, cells, strict=True)
    )
    style = f"border-collapse:collapse;margin:4px 0;background-color:{PAPER};color:{INK};font-family:{MONO}"
    table = (
        f'<table aria-label="{escaped(title)}" style="{style}"><tr style="background-color:{PAPER}">'
        f'<th style="{label}"></th>{heads}</tr>{body}</table>'
    )
    return f'<div style="overflow-x:auto">{table}</div>'


def _asked_section(reading: LensReading, part: ShownPart, number: int) -> str:
    """The ranks of a token that was asked about."""
    read = reading.read
    ranks = read.asked_ranks[..., number].flatten(0, 1)
    shares = read.asked_probabilities[..., number].flatten(0, 1)
    (text,), scale = reading.texts_of([reading.asked[number]]), _scale(reading)

    def cell(rank: int, share: float) -> str:
        style = f"{scale.style(share) or f'background-color:{PAPER}'};text-align:right"
        return _cell(f"{rank:,}", style, f"rank {rank:,}, {percentage(share)}")

    cells = [
        [cell(int(ranks[row, column]), float(shares[row, column])) for column in part.columns] for row in part.rows
    ]
    title = f"Rank of {token_label(text)}"
    return section(
        title, _grid(reading, part, cells, title, "right"), "1: no token is likelier; coloured by probability"
    )


def _short(token: str) -> str:
    return token if len(token) <= _LONGEST_TOKEN else f"{token[: _LONGEST_TOKEN - 1]}…"


def _as_lines(hover: str) -> str:
    return "<br>".join(plotly_label(line).replace("·", " ") for line in hover.split("\n"))
