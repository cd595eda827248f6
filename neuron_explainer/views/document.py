"""The frame of all views: a card that follows the theme of its page, and a complete HTML document for a file.

For an untrusted notebook, a front end drops `<style>` elements but keeps `style` attributes; GitHub drops both. So the
colours of light pages and the layout are in `style` attributes. A card's `<style>` holds refinements and the colours of
dark pages (`theme/dark.py`). The text is readable without either.
"""

from collections.abc import Collection, Iterable, Sequence

from neuron_explainer.views.theme.dark import for_documents, on_dark_pages
from neuron_explainer.views.theme.inks import INK as INK
from neuron_explainer.views.theme.inks import LINE as LINE
from neuron_explainer.views.theme.inks import MUTED as MUTED
from neuron_explainer.views.theme.inks import PAGE
from neuron_explainer.views.theme.inks import PAPER as PAPER
from neuron_explainer.views.token_text import escaped

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

NO_MATHEMATICS = "tex2jax_ignore mathjax_ignore"
"""The classes by which MathJax (2; 3 and 4) leaves an element alone, so that a token such as `$x$` stays text."""

_CARD_STYLE = (
    f"background-color:{PAPER};color:{INK};border:1px solid {LINE};border-radius:8px;"
    f"font-family:{SANS};font-size:14px;line-height:1.45;text-align:left"
)

# Refinements. The rules for tables undo the styles that notebook front ends apply to tables.
_REFINEMENTS = (
    ".ne-card{color-scheme:light;box-sizing:border-box}"
    ".ne-card bdi{border-radius:2px;padding:1px 0;box-shadow:-1px 0 0 rgba(31,35,40,.09);"
    "-webkit-box-decoration-break:clone;box-decoration-break:clone}"
    ".ne-card bdi:hover{outline:2px solid #1f2328}"
    ".ne-card bdi i{font-style:normal;opacity:.75}"
    ".ne-card bdi[style*=background] i{opacity:1}"
    ".ne-card summary{cursor:pointer}"
    # Hidden characters, until somebody opens what tells of them. Without these rules all of them are shown.
    # They tell of it in the card's first element: with `:has`, each change would be looked for in the whole page.
    ".ne-hidden:not([open])~.ne-text,.ne-hidden:not([open])~* .ne-text{& i:not([class]){color:transparent}"
    '& i.ne-e{font-size:0}& i.ne-e::after{content:"▯";font-size:12px}}'
    ".ne-card table.ne-pairs{border-collapse:separate;border-spacing:1px;margin:6px 0;table-layout:auto;border:0}"
    ".ne-card table.ne-pairs td{padding:0;min-width:13px;width:13px;height:13px;border:0;max-width:none}"
    ".ne-card table.ne-pairs td.ne-label{width:auto;padding-left:4px;line-height:1;white-space:pre}"
    ".ne-card table.ne-pairs td[bgcolor]{box-shadow:inset 0 0 0 1px rgba(31,35,40,.07)}"
    ".ne-card table.ne-pairs td[bgcolor]:hover{outline:2px solid #1f2328}"
)

_HIDDEN_CHARACTERS = (
    f'<details class="ne-hidden" style="float:right;color:{MUTED};font-size:12px;margin-left:14px">'
    "<summary>hidden characters</summary>· space, ↵ newline, ⇥ tab; others as codes</details>"
)


def card(content: str, classes: str = "", *, is_small: bool = False) -> str:
    """Set HTML on a card with its own background: light, or dark where the page around it says that it is dark.

    Args:
        content: HTML.
        classes: further CSS classes of the card, separated by spaces.
        is_small: for a line or two beside controls: with less space around the content.
    """
    if 'class="ne-text"' in content and "<i" in content:
        content = _HIDDEN_CHARACTERS + content
    theme, dark = on_dark_pages(content)
    names = escaped(f"ne-card {theme} {NO_MATHEMATICS} {classes}".strip())
    padding = "4px 10px" if is_small else "14px 18px"
    style = f"{_CARD_STYLE};padding:{padding}"
    return f'<style>{_REFINEMENTS}{dark}</style><section class="{names}" style="{style}">{content}</section>'


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Collection[int] = ()) -> str:
    """An HTML table that scrolls within itself where it is too wide.

    Args:
        heads: the columns' headings; HTML.
        rows: the cells of each row; HTML.
        numeric: the columns, by number, that are aligned to the right.
    """
    # Front ends style tables for their own theme, so each part says its colours itself.
    colours = f"background-color:{PAPER};color:{INK}"

    def padding(column: int) -> str:
        side = "right" if column in numeric else "left"
        return f"padding:2px 14px 2px 0;text-align:{side};vertical-align:top;white-space:normal"

    head = "".join(
        f'<th style="{padding(column)};background-color:{PAPER};color:{MUTED}">{name}</th>'
        for column, name in enumerate(heads)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{padding(column)};{colours};border-top:1px solid {LINE}">{cell}</td>'
            for column, cell in enumerate(cells)
        )
        + "</tr>"
        for cells in rows
    )
    table = (
        f'<table style="border-collapse:collapse;margin:0;table-layout:auto;{colours}"><tr>{head}</tr>{body}</table>'
    )
    return f'<div style="overflow-x:auto">{table}</div>'


def html_document(content: str, title: str) -> str:
    """A complete HTML file around a view. It needs no other file, and forbids scripts and downloads.

    It is dark if the reader's system is.

    Args:
        content: HTML.
        title: the page's title; text.

    An example: `pathlib.Path("neuron.html").write_text(html_document(record_to_html(record), "A neuron"))`.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escaped(title)}</title><style>{for_documents(content)}</style></head>"
        f'<body style="margin:24px auto;max-width:1100px;padding:0 16px;background-color:{PAGE}">'
        f"{content}</body></html>\n"
    )
