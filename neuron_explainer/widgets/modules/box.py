"""A place for a module that leaves nothing on the page where the module cannot be loaded."""

from __future__ import annotations

import ipywidgets as widgets

from neuron_explainer.widgets.modules.module_widget import ModuleWidget

# What ipywidgets 8 shows for a widget whose JavaScript is missing; ipywidgets 7 shows nothing.
_STYLE = "<style>.ne-module-box .jupyter-widgets-error-widget{display:none!important}</style>"


def module_box(module: ModuleWidget) -> widgets.Box:
    """A box as wide as the page with a module in it; it has the class `ne-module-box`."""
    style = widgets.HTML(_STYLE, layout=widgets.Layout(display="none"))
    box = widgets.Box([style, module], layout=widgets.Layout(display="block", width="100%", margin="0"))
    box.add_class("ne-module-box")
    return box
