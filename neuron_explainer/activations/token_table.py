"""A pandas table of tokens that fits a notebook, and whose tokens are shown as text."""

import re

import pandas

_TOKEN_COLUMNS = ("token", "attended_to", "attended_token")
_NODE_INDEX = "node"
_STYLE = (
    "<style>table.ne-table td,table.ne-table th{white-space:pre-wrap;padding:2px 8px;text-align:right}"
    "table.ne-table td:first-of-type{white-space:pre;text-align:left}</style>"
)


class TokenTable(pandas.DataFrame):
    """A table that a notebook shows with its first column on one line, and tokens as views show them.

    Whitespace in tokens is shown as marks, `$x$` is text and not mathematics, and columns without values are left out
    of the display. So is an index of nodes, whose names are a column. A selection of its rows or columns is
    such a table, too.
    """

    @property
    def _constructor(self) -> type["TokenTable"]:
        return TokenTable

    def _repr_html_(self) -> str | None:
        from neuron_explainer.views.document import NO_MATHEMATICS
        from neuron_explainer.views.token_text import token_label

        if not pandas.get_option("display.notebook_repr_html"):
            return None
        frame = pandas.DataFrame(self)
        shown = [name for name in frame.columns if frame.empty or not frame[name].isna().all()]
        html = frame.to_html(
            columns=shown,
            index=frame.index.name != _NODE_INDEX,
            max_rows=pandas.get_option("display.max_rows"),
            show_dimensions=bool(pandas.get_option("display.show_dimensions")),
            notebook=True,
            na_rep="",
            classes=f"ne-table {NO_MATHEMATICS}".split(),
            formatters={
                name: lambda value: token_label(value) if isinstance(value, str) else ""
                for name in _TOKEN_COLUMNS
                if name in shown
            },
        )
        # Long names may break behind their underscores.
        html = re.sub(r">([^<>]*_[^<>]*)<", lambda found: f">{found[1].replace('_', '_<wbr>')}<", _without_style(html))
        return f'{_STYLE}<div style="overflow-x:auto">{html}</div>'


def _without_style(html: str) -> str:
    """pandas' HTML without its own style element and border."""
    html = re.sub(r"<style[^>]*>.*?</style>", "", html, count=1, flags=re.DOTALL)
    return html.replace('<table border="1"', "<table", 1)
