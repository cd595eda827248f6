"""What all views are set in: a card that brings its own colours, and a whole HTML document for a file.

A front end that does not trust a notebook drops `<style>` elements and keeps `style` attributes, and GitHub drops both.
So colours and layout stand in `style` attributes, `STYLE_ELEMENT` holds refinements alone, and the text can be read
without either.
"""

from neuron_explainer.views.token_text import escaped

INK, MUTED, LINE, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
"""The colours of text, of secondary text, of rules and of the ground; each text colour contrasts 5 to 1 or more."""

SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

_CARD_STYLE = (
    f"background-color:{PAPER};color:{INK};border:1px solid {LINE};border-radius:8px;padding:14px 18px;"
    f"font-family:{SANS};font-size:14px;line-height:1.45;text-align:left"
)

# Refinements. The token rules undo what notebook front ends set for tables and lists in rendered HTML.
STYLE_ELEMENT = (
    "<style>"
    ".ne-card{color-scheme:light;box-sizing:border-box}"
    ".ne-card bdi{border-radius:2px;padding:1px 0;box-shadow:-1px 0 0 rgba(31,35,40,.09);"
    "-webkit-box-decoration-break:clone;box-decoration-break:clone}"
    ".ne-card bdi:hover{outline:2px solid #1f2328}"
    ".ne-card bdi i{font-style:normal;opacity:.75}"
    ".ne-card summary{cursor:pointer}"
    ".ne-card table.ne-pairs{border-collapse:separate;border-spacing:1px;margin:6px 0;table-layout:auto;border:0}"
    ".ne-card table.ne-pairs td{padding:0;min-width:13px;width:13px;height:13px;border:0;max-width:none}"
    ".ne-card table.ne-pairs td.ne-label{width:auto;padding-left:4px;line-height:1;white-space:pre}"
    ".ne-card table.ne-pairs td[bgcolor]{box-shadow:inset 0 0 0 1px rgba(31,35,40,.07)}"
    ".ne-card table.ne-pairs td[bgcolor]:hover{outline:2px solid #1f2328}"
    "</style>"
)


def card(content: str, classes: str = "") -> str:
    """Views' content on its own ground, so that it reads the same on light and dark pages.

    Args:
        content: HTML.
        classes: more CSS classes for the card, separated by spaces.
    """
    names = escaped(f"ne-card {classes}".strip())
    return f'{STYLE_ELEMENT}<section class="{names}" style="{_CARD_STYLE}">{content}</section>'


def html_document(content: str, title: str) -> str:
    """A whole HTML file around a view; it needs nothing beside itself, and allows nothing to run or to be fetched."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escaped(title)}</title></head>"
        f'<body style="margin:24px auto;max-width:1100px;padding:0 16px;background-color:#f6f8fa">{content}</body>'
        "</html>\n"
    )
