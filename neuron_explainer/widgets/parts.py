"""Small parts that widgets are made of: buttons, layouts; and all parts of a box, to close them."""

import ipywidgets as widgets


def wrapped(**options: str) -> widgets.Layout:
    """A row that goes on in the next line where the page is narrow."""
    return widgets.Layout(flex_flow="row wrap", width="100%", **options)


def filling(**options: str) -> widgets.Layout:
    """All the width that there is, margins included."""
    return widgets.Layout(width="auto", min_width="0", **options)


def flexible(width: str, **options: str) -> widgets.Layout:
    """A width that shrinks with the page."""
    return widgets.Layout(width=width, max_width="100%", **options)


def button(name: str, icon: str, tooltip: str, width: str = "108px") -> widgets.Button:
    """A button with a word and a picture."""
    return widgets.Button(
        description=name, icon=icon, tooltip=tooltip, layout=widgets.Layout(width=width, flex="0 0 auto")
    )


def widgets_in(box: widgets.Box) -> list[widgets.Widget]:
    """The widgets in a box, its layout, and theirs."""
    parts: list[widgets.Widget] = [box.layout]
    for child in box.children:
        parts += widgets_in(child) if isinstance(child, widgets.Box) else [child.layout]
        parts += [child.style] if isinstance(getattr(child, "style", None), widgets.Widget) else []
        parts.append(child)
    return parts
