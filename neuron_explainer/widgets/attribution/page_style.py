"""The style of a page's frame, in a widget of its own, so that it does not need the front end's module."""

import ipywidgets as widgets

_RULES = (
    # What is wide scrolls within its own place, and does not make the page wider than its cell.
    ".ne-attribution-viewer{min-width:0;max-width:100%;overflow:visible}",
    ".ne-attribution-viewer .widget-html-content{min-width:0;width:100%}",
    ".ne-attribution-viewer .widget-html,.ne-attribution-viewer .widget-vbox{min-width:0;max-width:100%}",
    ".ne-attribution-viewer .widget-toggle-buttons{height:auto}",
    # The heading of each part of the page, in the colours of the front end's theme
    ".ne-attribution-viewer .ne-heading{font-size:15px;font-weight:600;margin-top:14px;padding-bottom:2px;"
    "border-bottom:1px solid var(--jp-border-color1,#bdbdbd)}",
    ".ne-attribution-viewer .ne-sections .ne-card>div:first-child{margin-top:0!important}",
    # What is chosen is underlined, too; the front end's two greys are hard to tell apart
    ".ne-attribution-viewer .jupyter-button.mod-active{font-weight:600;"
    "box-shadow:inset 0 -3px 0 var(--jp-brand-color1,#1976d2)}",
    # The contrast of texts in empty fields, and of buttons that cannot be pressed now
    ".ne-attribution-viewer :is(.widget-text,.widget-textarea,.widget-combobox) ::placeholder"
    "{color:var(--jp-ui-font-color1,#424242)!important;opacity:0.7}",
    ".ne-attribution-viewer .jupyter-button:disabled{opacity:0.7}",
    # Where the keyboard is; the front end's own line is thin and pale
    ".ne-attribution-viewer :is(.widget-text,.widget-textarea,.widget-dropdown,.widget-checkbox,.widget-combobox)"
    " :is(input,select,textarea):focus-visible,.ne-attribution-viewer .jupyter-button:focus-visible"
    "{outline:2px solid var(--jp-brand-color1,#1976d2)!important;outline-offset:1px}",
    # A change's name is in its card; of the box beside it, it is for screen readers
    ".ne-attribution-viewer .ne-changes .widget-checkbox{min-width:0}",
    ".ne-attribution-viewer .ne-changes .widget-label-basic>span{position:absolute;width:1px;height:1px;"
    "overflow:hidden;clip-path:inset(50%);white-space:nowrap}",
)


def style_widget() -> widgets.HTML:
    """The rules, in a widget that takes no room."""
    return widgets.HTML(f"<style>{''.join(_RULES)}</style>", layout=widgets.Layout(height="0", margin="0"))
