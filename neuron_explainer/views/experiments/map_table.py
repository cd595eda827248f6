"""The table of a map: coloured cells in rows and columns, each row with a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neuron_explainer.views.attribution.cells import GRID, grid_name, token_mark
from neuron_explainer.views.document import INK, MUTED, PAPER
from neuron_explainer.views.token_text import escaped, token_html

_LABEL = f"background-color:{PAPER};color:{MUTED};padding:0 1px;font-size:10px;font-weight:normal;line-height:1.3"


def map_table(
    title: str, rows_are: str, columns_are: str, columns: Sequence[str], rows: Iterable[tuple[str, str]]
) -> str:
    """The table as HTML; it scrolls within itself where it is too wide.

    Args:
        title: what the map shows, for screen readers; text.
        rows_are, columns_are: what the labels of rows and of columns are, such as "token"; text. Empty: they say it.
        columns: the columns' labels; text.
        rows: each row's label, a `th` element, and its cells, `td` elements; HTML.
    """
    at_bottom = f"{_LABEL};vertical-align:bottom"
    head = "".join(
        f'<th style="{at_bottom};text-align:center;min-width:13px">{escaped(column)}</th>' for column in columns
    )
    names = [f"{name} {arrow}" for name, arrow in ((columns_are, "→"), (rows_are, "↓")) if name]
    corner_style = f"{at_bottom};text-align:right;white-space:nowrap;padding-right:4px"
    corner = f'<th style="{corner_style}">{"<br>".join(map(escaped, names))}</th>'
    lines = [f'<tr style="background-color:{PAPER}">{corner}{head}</tr>']
    lines += [f'<tr style="background-color:{PAPER}">{label}{cells}</tr>' for label, cells in rows]
    style = f"background-color:{PAPER};color:{INK}"
    table = f'<table {GRID} {grid_name(title)} class="ne-pairs" style="{style}">{"".join(lines)}</table>'
    return f'<div style="overflow-x:auto">{table}</div>'


def label_of_row(text: str) -> str:
    """A row's label that is a number or a word; text."""
    return f'<th scope="row" style="{_LABEL};text-align:right">{escaped(text)}</th>'


def label_of_token(position: int, token: str, other: str | None = None, *, varies: bool = False) -> str:
    """A row's label that is a token of the prompt.

    Args:
        position: the token's position.
        token: its text.
        other: the token in a second prompt, if it is another.
        varies: whether further prompts have other tokens there.
    """
    text = token_html(token).replace("<br>", "")
    hover = f"position {position}" if other is None else f"position {position}; clean prompt / corrupted prompt"
    second = "" if other is None else f" / <bdi>{token_html(other).replace('<br>', '')}</bdi>"
    return (
        f'<th scope="row" style="{_LABEL};text-align:right;white-space:pre;color:{INK};max-width:140px;'
        f'overflow:hidden;text-overflow:ellipsis;padding-right:4px">'
        f'<bdi {token_mark(position)} title="{hover}">{text}'
        f"</bdi>{second}{' …' if varies else ''}</th>"
    )
