"""The HTML around the pages of a site: a document whose own colours follow the reader's, light or dark."""

from neuron_explainer.views.document import MONO, NO_MATHEMATICS, SANS
from neuron_explainer.views.theme.dark import DARK_INK, DARK_LINE, DARK_MUTED, DARK_PAGE, DARK_PAPER, for_documents
from neuron_explainer.views.theme.inks import INK, LINE, MUTED, PAGE, PAPER
from neuron_explainer.views.token_text import escaped

MOST_BYTES = 1_000_000
"""No page is larger."""

_STYLE = (
    f":root{{color-scheme:light dark;--ink:{INK};--muted:{MUTED};--line:{LINE};--paper:{PAGE};--box:{PAPER};"
    "--link:#0550ae}"
    f"@media (prefers-color-scheme:dark){{:root{{--ink:{DARK_INK};--muted:{DARK_MUTED};--line:{DARK_LINE};"
    f"--paper:{DARK_PAGE};--box:{DARK_PAPER};--link:#79b8ff}}}}"
    f"body{{margin:16px auto;max-width:1100px;padding:0 16px;background:var(--paper);color:var(--ink);"
    f"font:14px/1.45 {SANS}}}"
    "nav a,main a{color:var(--link)}h1{font-size:22px;margin:12px 0 4px;overflow-wrap:anywhere}"
    "h2{font-size:17px;margin:18px 0 6px}"
    ".about{color:var(--muted);overflow-wrap:anywhere}"
    "nav{display:flex;flex-wrap:wrap;gap:4px 18px;padding:8px 0}"
    "table.list{border-collapse:collapse;width:100%;background:var(--box)}"
    ".list th,.list td{text-align:left;vertical-align:top;padding:4px 10px 4px 6px;"
    "border-top:1px solid var(--line);"
    "overflow-wrap:anywhere}.list th{color:var(--muted);white-space:nowrap;overflow-wrap:normal}"
    ".list th[aria-sort=ascending] button::after{content:' ↑'}"
    ".list th[aria-sort=descending] button::after{content:' ↓'}"
    ".list td:nth-child(1){white-space:nowrap;overflow-wrap:normal}"
    f".list td.tokens{{font-family:{MONO};font-size:12px}}"
    ".list .number{text-align:right;white-space:nowrap}"
    ".scroll{overflow-x:auto}.scroll table{min-width:640px}"
    ".controls{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:end;margin:12px 0}.controls[hidden]{display:none}"
    ".controls label{display:flex;flex-direction:column;gap:2px;color:var(--muted);font-size:12px}"
    "input,select,button{font:inherit;color:var(--ink);background:var(--box);border:1px solid var(--muted);"
    "border-radius:5px;padding:4px 8px}button:disabled{opacity:.5}"
    ".list th button{border:0;padding:0;background:none;color:inherit;font-weight:bold;cursor:pointer;text-align:left}"
    ":focus-visible{outline:2px solid var(--link);outline-offset:2px}"
    "ul.layers{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:2px 12px;padding:0;"
    "list-style:none}"
)

_NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_OWN_SCRIPTS = f"{_NO_SCRIPTS}; script-src 'self' file:"  # from a disk, some browsers give "self" no meaning


def site_document(content: str, title: str, scripts: tuple[str, ...] = ()) -> str:
    """A complete HTML file of a site. It asks for nothing but the site's own scripts.

    Args:
        content: HTML.
        title: the page's title; text.
        scripts: the paths of the site's scripts that the page runs; none may run without.
    """
    policy = _OWN_SCRIPTS if scripts else _NO_SCRIPTS
    loaded = "".join(f'<script src="{escaped(path)}" defer></script>' for path in scripts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escaped(title)}</title><style>{_STYLE}{for_documents(content)}</style>{loaded}</head>"
        f'<body class="{NO_MATHEMATICS}">{content}</body></html>\n'
    )


def link(address: str, words: str, more: str = "") -> str:
    """A link.

    Args:
        address: where to; text.
        words: what is clicked on; text.
        more: further attributes; HTML.
    """
    return f'<a href="{escaped(address)}"{f" {more}" if more else ""}>{escaped(words)}</a>'


def navigation(links: list[str], label: str) -> str:
    """Links to other pages, of which empty ones are left out.

    Args:
        links: the links; HTML.
        label: what they are, for screen readers.
    """
    return f'<nav aria-label="{escaped(label)}">{"".join(filter(None, links))}</nav>'
