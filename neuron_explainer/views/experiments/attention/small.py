"""The small attention patterns of a page, layers × heads, and the buttons by which one is chosen."""

from __future__ import annotations

from neuron_explainer.views.document import INK, MUTED
from neuron_explainer.views.experiments.attention.drawing import Drawing
from neuron_explainer.views.experiments.attention.layout import NUMBERS
from neuron_explainer.views.experiments.attention.style import pixels

_NUMBER = f"color:{MUTED};font-size:11px;line-height:1"


def buttons(drawing: Drawing) -> str:
    """A radio button for each head, which nobody sees: small patterns are their labels, and keys move among them.

    While one has the focus, JupyterLab leaves the arrow keys to it: it looks for the attribute on the focused element.
    """
    name, layout = drawing.name, drawing.layout
    return "".join(
        f'<input type="radio" name="{name}" id="{name}-{layer}-{head}" class="ne-l{layer} ne-h{head}" '
        f'aria-label="L{layer}H{head}" style="display:none" '
        f"data-lm-suppress-shortcuts{' checked' if drawing.is_opened(layer, head) else ''}>"
        for layer in layout.layers
        for head in range(layout.n_heads)
    )


def small_patterns(drawing: Drawing) -> str:
    """All small patterns with the numbers of layers and heads, and a frame around the one that is large."""
    layout = drawing.layout
    layer, head = drawing.opened
    width, height = layout.grid_size
    tile = pixels(layout.tile)
    numbers = "".join(
        f'<span style="position:absolute;top:0;left:{pixels(layout.left(each))};width:{tile};text-align:center;'
        f'{_NUMBER}">{each}</span>'
        for each in range(layout.n_heads)
    )
    rows = "".join(_row(each, drawing) for each in layout.layers)
    frame = (
        f'<div class="ne-chosen" style="position:absolute;left:{pixels(layout.left(head))};'
        f"top:{pixels(layout.top(layer))};width:{tile};height:{tile};outline:2px solid {INK};outline-offset:1px;"
        'pointer-events:none"></div>'
    )
    return (
        '<div style="overflow-x:auto;flex:0 1 auto;min-width:180px">'
        f'<div style="position:relative;width:{pixels(width + 4)};height:{pixels(height)}">{numbers}{rows}{frame}'
        "</div></div>"
    )


def _row(layer: int, drawing: Drawing) -> str:
    """The picture of a layer, and a label over each head's part of it."""
    name, layout = drawing.name, drawing.layout
    size = f"width:{pixels(layout.tile_pitch * layout.n_heads)};height:{pixels(layout.tile)}"
    labels = "".join(
        f'<label for="{name}-{layer}-{head}" title="L{layer}H{head}" '
        f'style="left:{pixels(head * layout.tile_pitch)}"></label>'
        for head in range(layout.n_heads)
    )
    rendering = "pixelated" if layout.n_cells < layout.tile else "auto"  # a smaller one is a mean of its pixels
    return (
        f'<div style="position:absolute;top:{pixels(layout.top(layer))};left:0">'
        f'<span style="position:absolute;top:{layout.tile // 2 - 5}px;width:{NUMBERS - 6}px;text-align:right;'
        f'{_NUMBER}">{layer}</span><div style="position:absolute;left:{NUMBERS}px;{size}">'
        f'<img src="{drawing.strips[layer]}" alt="the heads of layer {layer}" style="display:block;{size};'
        f'max-width:none;margin:0;image-rendering:{rendering}">{labels}</div></div>'
    )
