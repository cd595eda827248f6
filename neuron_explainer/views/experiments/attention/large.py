"""The large attention pattern of a page: the picture of a layer, of which one head is seen, with tokens on its axes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neuron_explainer.views.attribution.pattern_pictures import reduced
from neuron_explainer.views.document import LINE, MUTED, PAPER
from neuron_explainer.views.experiments.attention.drawing import CELLS_OF_OPENED, LONGEST_DENSE, Drawing
from neuron_explainer.views.experiments.attention.layout import ABOVE, BESIDE, TITLE
from neuron_explainer.views.experiments.attention.style import pixels
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import token_html


def large_pattern(drawing: Drawing) -> str:
    """The large pattern as HTML. All heads are in it; styles say which is seen."""
    layout = drawing.layout
    width, height = layout.large_size
    layers = "".join(_layer(layer, drawing) for layer in layout.layers)
    place = f"position:absolute;left:{BESIDE}px;top:{TITLE + ABOVE}px;width:{layout.side}px;height:{layout.side}px"
    return (
        f'<div class="ne-large" style="flex:0 0 auto;position:relative;width:{width}px;height:{height}px;'
        f'margin-top:{layout.top_of_large(drawing.opened[0])}px;background-color:{PAPER}">{_labels(drawing)}'
        f'<div style="{place};outline:1px solid {LINE}">{layers}</div></div>'
    )


def _layer(layer: int, drawing: Drawing) -> str:
    """The picture of a layer, moved so that the head is seen, and the cells of each head over it."""
    layout, opened = drawing.layout, drawing.opened
    heads = "".join(_head(layer, head, drawing) for head in range(layout.n_heads))
    return (
        f'<div class="ne-layer ne-layer{layer}" style="display:{_display(layer == opened[0])}">'
        f'<div style="position:absolute;overflow:hidden;width:{layout.side}px;height:{layout.side}px">'
        f'<img class="ne-strip" src="{drawing.strips[layer]}" alt="" style="display:block;'
        f"width:{pixels(layout.side_pitch * layout.n_heads)};height:{layout.side}px;max-width:none;margin:0;"
        f'margin-left:{pixels(-opened[1] * layout.side_pitch)};image-rendering:pixelated"></div>{heads}</div>'
    )


def _head(layer: int, head: int, drawing: Drawing) -> str:
    """The name of a head, and its strongest cells as elements over the picture that tell who attends to whom."""
    layout, prompt = drawing.layout, drawing.prompt
    is_opened = drawing.is_opened(layer, head)
    count = max(drawing.cells_of_others, CELLS_OF_OPENED) if is_opened else drawing.cells_of_others
    # Of the head that is opened, they have their place without style elements, too.
    size = f";position:absolute;width:{layout.cell}px;height:{layout.cell}px" if is_opened else ""
    cells = []
    for row, column, weight in _strongest(drawing.weights[layer][:, :, head], count, layout.block):
        left, top = (layout.cell * (each // layout.block) for each in (column, row))
        said = f"{prompt.name(row)} attends to {prompt.name(column)}: {format_value(round(weight, 3))}"
        cells.append(f'<b style="left:{left}px;top:{top}px{size}" title="{said}"></b>')
    return (
        f'<div class="ne-head ne-head{head}" style="display:{_display(head == drawing.opened[1])}">'
        f'<span style="position:absolute;top:{-TITLE - ABOVE}px;font-weight:bold">L{layer}H{head}</span>'
        f"{''.join(cells)}</div>"
    )


def _display(is_seen: bool) -> str:
    return "block" if is_seen else "none"


def _strongest(weights: Tensor, count: int, block: int) -> Iterator[tuple[int, int, float]]:
    """The pairs with the largest weights, one for each block of pairs."""
    cells = reduced(weights[:, :, None], -(-len(weights) // block))[:, :, 0]
    is_shown = torch.ones_like(cells, dtype=torch.bool).tril()
    if len(weights) > LONGEST_DENSE:
        is_shown &= cells > 0
    n_shown = min(count, int(is_shown.sum()))
    order = torch.where(is_shown, cells, -1.0).flatten().sort(descending=True, stable=True).indices
    for place in order[:n_shown].tolist():
        top, left = (block * each for each in divmod(place, cells.shape[1]))
        part = weights[top : top + block, left : left + block]
        row, column = divmod(int(part.argmax()), part.shape[1])
        yield top + row, left + column, float(part[row, column])


def _labels(drawing: Drawing) -> str:
    """The tokens of rows, to their left, and of columns, above them; where they are narrow, not of each."""
    layout, prompt = drawing.layout, drawing.prompt
    elements = []
    for number in range(0, layout.n_cells, layout.label_step):
        token = number * layout.block
        text = token_html(prompt.short(token)).replace("<br>", "")
        common = f"position:absolute;overflow:hidden;white-space:nowrap;color:{MUTED};font-size:10px;line-height:12px"
        middle = layout.cell * number + layout.cell / 2 - 6
        row = f"{common};left:0;width:{BESIDE - 4}px;text-align:right;top:{TITLE + ABOVE + middle:g}px"
        column = (
            f"{common};top:{TITLE}px;height:{ABOVE - 4}px;width:12px;writing-mode:vertical-rl;"
            f"transform:rotate(180deg);left:{BESIDE + middle:g}px"
        )
        hover = prompt.name(token)
        elements += [f'<bdi style="{style}" title="{hover}">{text}</bdi>' for style in (row, column)]
    return "".join(elements)
