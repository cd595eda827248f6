"""The style of a page's frame, in a widget of its own, so that it does not need the front end's module."""

import ipywidgets as widgets

_RULES = (
    # What is wide scrolls within its own place, and does not make the page wider than its cell.
    ".ne-attribution-viewer{min-width:0;max-width:100%;overflow:visible}",
    ".ne-attribution-viewer .widget-html-content{min-width:0;width:100%}",
    ".ne-attribution-viewer .widget-html,.ne-attribution-viewer .widget-vbox{min-width:0;max-width:100%}",
    ".ne-attribution-viewer .widget-toggle-buttons{height:auto}",
)


def style_widget() -> widgets.HTML:
    """The rules, in a widget that takes no room."""
    return widgets.HTML(f"<style>{''.join(_RULES)}</style>", layout=widgets.Layout(height="0", margin="0"))
