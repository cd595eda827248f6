"""A pandas table of tokens that fits a notebook, and whose tokens are shown as text."""

import re

import pandas

_TOKEN_COLUMNS = re.compile(
    r"(token|attended_to|attended_token|source|query|key|top_token|asked_token)(_[12])?"
)  # _1 and _2 in comparisons
_NODE_INDEX = "node"
_STYLE = (
    "<style>table.ne-table td,table.ne-table th{white-space:pre-wrap;padding:2px 8px;text-align:right}"
    "table.ne-table td:first-of-type{white-space:pre;text-align:left}</style>"
)

_TEXT_COLUMNS = ("explanation",)  # texts that are read, and so not cut off after a few words
_LONGEST_TEXT = 300
_STYLE_OF_TEXT = (
    "<style>table.ne-told-{place} td:nth-of-type({place}){{text-align:left;overflow-wrap:anywhere;min-width:15em}}"
    "table.ne-told-{place} thead th:nth-of-type({head}){{text-align:left}}</style>"
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

        if not pandas.get_option("display.notebook_repr_html"):
            return None
        frame = pandas.DataFrame(self)
        shown = [name for name in frame.columns if frame.empty or not frame[name].isna().all()]
        tokens = [name for name in shown if _TOKEN_COLUMNS.fullmatch(str(name))]
        frame = frame.assign(**{name: frame[name].map(_label) for name in tokens})
        told = [place for place, name in enumerate(shown, 1) if str(name) in _TEXT_COLUMNS]
        has_index = frame.index.name != _NODE_INDEX
        widest = pandas.get_option("display.max_colwidth")
        if told and widest is not None:
            widest = max(widest, _LONGEST_TEXT)
        with pandas.option_context("display.max_colwidth", widest):
            html = frame.to_html(
                columns=shown,
                index=has_index,
                max_rows=pandas.get_option("display.max_rows"),
                show_dimensions=_shows_dimensions(frame),
                notebook=True,
                na_rep="",
                classes=["ne-table", *NO_MATHEMATICS.split(), *(f"ne-told-{place}" for place in told)],
            )
        # Long names may break behind their underscores.
        html = re.sub(r">([^<>]*_[^<>]*)<", lambda found: f">{found[1].replace('_', '_<wbr>')}<", _without_style(html))
        style = "".join(_STYLE_OF_TEXT.format(place=place, head=place + has_index) for place in told)
        return f'{_STYLE}{style}<div style="overflow-x:auto">{html}</div>'


def _label(token: object) -> str:
    from neuron_explainer.views.token_text import token_label

    return token_label(token) if isinstance(token, str) else ""


def _shows_dimensions(frame: pandas.DataFrame) -> bool:
    """Whether pandas would show how many rows and columns there are: by default where rows are left out."""
    asked, most = pandas.get_option("display.show_dimensions"), pandas.get_option("display.max_rows")
    return bool(most and len(frame) > most) if asked == "truncate" else bool(asked)


def _without_style(html: str) -> str:
    """pandas' HTML without its own style element and border."""
    html = re.sub(r"<style[^>]*>.*?</style>", "", html, count=1, flags=re.DOTALL)
    return html.replace('<table border="1"', "<table", 1)
