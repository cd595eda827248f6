"""What tables and sections of an answer's page are made of: signed numbers, tokens, bars, headings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuron_explainer.errors import shown
from neuron_explainer.views.colour import ColourScale, background_of_level
from neuron_explainer.views.document import LINE, MUTED, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped, token_html

if TYPE_CHECKING:
    import pandas

UP, DOWN = background_of_level(32), background_of_level(-32)
"""The colours of what raises the number, and of what lowers it."""

Links = Callable[[str], str | None]
"""The address of a node's page, by its name; None of a node that has none."""

LINK = "#0550ae"
"""The colour of a link on a card."""

HEADING = 'role="heading" aria-level="4"'
"""The attributes of an element that screen readers find as the heading of a part of a page."""

_TOKEN_COLUMNS = ("token", "attended_to", "source", "query", "key")
_MEASURED = ("difference", "estimate", "measured")
_TEXT_COLUMNS = ("name", "part", "answer", "asked", "example", "explanation", "source", *_TOKEN_COLUMNS)
_MARK_STYLE = "border:1px solid;border-radius:3px;padding:0 5px;font-size:12px"
_BAR_WIDTH = 90  # pixels of a probability of 1


def section(title: str, content: str, note: str = "", space: int = 18) -> str:
    """A part of a page under a heading; empty without content.

    Args:
        title: the heading; text.
        content: HTML.
        note: how to read it, beside the heading; text.
        space: how many pixels of space are above it.
    """
    if not content:
        return ""
    beside = f' <span style="color:{MUTED};font-size:12px">{escaped(note)}</span>' if note else ""
    return f'<div style="margin-top:{space}px"><b {HEADING}>{escaped(title)}</b>{beside}</div>{content}'


def side_by_side(*columns: str) -> str:
    """Parts of a page next to each other, or below each other where the page is narrow. Empty ones are left out."""
    boxes = "".join(f'<div style="flex:0 1 auto;min-width:0">{column}</div>' for column in columns if column)
    return f'<div style="display:flex;flex-wrap:wrap;gap:0 40px">{boxes}</div>' if boxes else ""


def signed(value: float) -> str:
    """A number with its sign, as a term of a sum.

    >>> signed(1.5), signed(-0.25)
    ('+1.5', '−0.25')
    """
    return f"+{format_value(value)}" if value > 0 else format_value(value)


# A frontend module finds by these attributes what an element shows. Without one they do nothing.

GRID = 'data-ne-grid="columns"'
"""Of an element whose marked elements are cells of a map, in rows."""


def grid_name(text: str) -> str:
    """The attribute that says to screen readers what a map shows."""
    return f'aria-label="{escaped(text)}"'


def node_mark(name: str) -> str:
    """The attribute of an element that shows a node.

    >>> node_mark("L2H3@5<-1")
    'data-ne-node="L2H3@5&lt;-1"'
    """
    return f'data-ne-node="{escaped(name)}"'


def token_mark(position: int) -> str:
    """The attribute of an element that shows a token of the prompt."""
    return f'data-ne-token="{position}"'


def quoted(text: str) -> str:
    """An answer's text in quotation marks."""
    return escaped(shown(text))


def token_cell(token: str) -> str:
    """A token on one line."""
    return f'<bdi style="white-space:pre-wrap">{token_html(token).replace("<br>", "")}</bdi>'


def effect_cell(value: float, scale: ColourScale) -> str:
    """A number on its colour; empty for NaN, which stands for an effect that does not exist."""
    if math.isnan(value):
        return ""
    style = ";".join(("padding:0 4px;border-radius:3px", *filter(None, [scale.style(value)])))
    return f'<span style="{style}">{format_value(value)}</span>'


def probability_cell(probability: float, mark: str = "") -> str:
    """A probability as a bar and a number; the bar of a target or distractor has its colour."""
    colour = {"target": UP, "distractor": DOWN}.get(mark, MUTED)
    width = round(_BAR_WIDTH * probability) if math.isfinite(probability) else 0
    bar = (
        f'<span style="display:inline-block;vertical-align:middle;width:{_BAR_WIDTH}px;background-color:{LINE}">'
        f'<span style="display:block;width:{width}px;height:9px;background-color:{colour}">'
        "</span></span>"
    )
    return f'<span style="white-space:nowrap">{bar} {percentage(probability)}</span>'


def percentage(probability: float) -> str:
    """A probability in percent; of a small one, its size.

    >>> percentage(0.1234), percentage(0.0000123)
    ('12.3%', '0.0012%')
    """
    percent = 100 * probability
    return f"{percent:.1f}%" if percent >= 0.1 or percent == 0 else f"{format_value(float(f'{percent:.2g}'))}%"


def mark_cell(mark: str) -> str:
    """ "target" or "distractor" in its colour; empty for other tokens."""
    if not mark:
        return ""
    return f'<span style="{_MARK_STYLE};border-color:{UP if mark == "target" else DOWN}">{escaped(mark)}</span>'


def frame_html(
    frame: pandas.DataFrame,
    scales: Mapping[str, ColourScale],
    columns: Sequence[str] | None = None,
    links: Links | None = None,
) -> str:
    """A table of an answer. Its index is not shown; empty without rows.

    Args:
        frame: the table.
        scales: the colours of columns, by their names.
        columns: the columns that are shown; None: those with values.
        links: the address of a node's page, by its name; None where it has none.
    """
    if not len(frame):
        return ""
    values_of: dict[Any, list[Any]] = frame.to_dict("list")
    columns = [name for name in values_of if _has_values(name, values_of[name])] if columns is None else list(columns)
    if not columns:
        return ""
    numeric = {number for number, name in enumerate(columns) if _base(name) not in (*_TEXT_COLUMNS, "probability")}
    marks = values_of["asked"] if "asked" in columns else [""] * len(frame)
    rows = [
        [_cell(name, value, scales.get(name), mark, links) for name, value in zip(columns, values, strict=True)]
        for *values, mark in zip(*(values_of[name] for name in columns), marks, strict=True)
    ]
    return html_table([escaped(name.replace("_", " ")) for name in columns], rows, numeric)


def shown_columns(frame: pandas.DataFrame) -> list[str]:
    """A table's columns that have values; all of a table without rows."""
    return [name for name in frame.columns if frame.empty or _has_values(name, frame[name].tolist())]


def _has_values(name: str, values: Sequence[Any]) -> bool:
    if name == "asked" and not any(value != "" for value in values):
        return False
    return not all(map(is_missing, values))


def kind_of_column(column: str) -> str:
    """What a column of a table of nodes holds: "name", "token" (any text), "effect" or "number"."""
    base = _base(column)
    if base == "name":
        return "name"
    if base in _TEXT_COLUMNS:
        return "token"
    return "effect" if base in _MEASURED or base.endswith("effect") else "number"


def about_column(column: str) -> str:
    """What a column of a table of nodes says, in words; empty where its name says it.

    >>> about_column("write_norm_2")
    'size of what the node adds to the residual stream, with the sign of the activation; in the 2nd prompt'
    """
    words = _ABOUT.get(_base(column), "")
    which = {"_1": "; in the prompt", "_2": "; in the 2nd prompt"}.get(column[-2:], "")
    return words + which if words else ""


_ABOUT = {
    "name": "layer and component, @ its token, <- the token that a head attends to",
    "token": "where the node is: for a head, the token that attends",
    "attended_to": "the token that a head reads from",
    "activation": "how active the node is; of a head, its attention weight",
    "write_norm": "size of what the node adds to the residual stream, with the sign of the activation",
    "direct_effect": "what the node adds to the value by itself, past all later layers",
    "total_effect": "estimate of what is lost without the node, later layers included: activation times gradient",
    "measured": "what is really lost when the node is taken out; the total effect is the estimate of it",
    "difference": "total effect in the prompt minus that in the 2nd prompt",
}


def _base(column: str) -> str:
    """A column's name without the number that says of which answer it is."""
    return column.removesuffix("_1").removesuffix("_2")


def is_missing(value: object) -> bool:
    """Whether a table's value stands for none: None, NaN or pandas' NA."""
    if isinstance(value, str | int):
        return False
    return value != value if isinstance(value, float) else str(value) in ("None", "nan", "<NA>")


def _cell(name: str, value: Any, scale: ColourScale | None, mark: str, links: Links | None) -> str:
    if is_missing(value):
        return ""
    if name == "asked":
        return mark_cell(value)
    if _base(name) in (*_TOKEN_COLUMNS, "answer"):
        return token_cell(value)
    if _base(name) == "probability":
        return probability_cell(value, mark)
    if isinstance(value, float):
        return format_value(value) if scale is None else effect_cell(value, scale)
    if name == "name":
        words = escaped(str(value))
        if links is not None and (address := links(str(value))) is not None:
            words = f'<a href="{escaped(address)}" style="color:{LINK}">{words}</a>'
        return f'<span {node_mark(str(value))} style="white-space:nowrap">{words}</span>'
    return escaped(str(value))
