"""All attention patterns of a prompt on one page: small ones, layers × heads, and one of them large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.attribution.pattern import ONLY_TOKEN, weights_legend
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.experiments.attention.drawing import CELLS_OF_OPENED, KEPT_OF_ROW, LONGEST_DENSE, Drawing
from neuron_explainer.views.experiments.attention.large import large_pattern
from neuron_explainer.views.experiments.attention.small import buttons, small_patterns
from neuron_explainer.views.experiments.attention.style import attention_style
from neuron_explainer.views.token_text import escaped
from neuron_explainer.wording import counted, number_ranges

if TYPE_CHECKING:
    from neuron_explainer.experiments.attention_patterns.attention_patterns import AttentionPatterns

_TITLE = "Attention patterns"
_SMALL = f"color:{MUTED};font-size:12px"
_HINT = "A click on a small pattern, or an arrow key, shows another large."


def attention_html(found: AttentionPatterns, opened: tuple[int, int], skip_first: bool) -> str:
    """The page of `AttentionPatterns.to_html`.

    Args:
        found: the patterns.
        opened: the layer and the head that is large at first.
        skip_first: whether the first token is left out, as one that attends and as one attended to.
    """
    note = f"{found.model_name}, {counted(len(found.tokens), 'token')}"
    if len(found.tokens) == skip_first:
        return card(section(_TITLE, f'<div style="{_SMALL}">{ONLY_TOKEN}</div>', note, 0), "ne-attention")
    drawing = Drawing.of(found, opened, skip_first)
    page = (
        f'<div class="{drawing.name}" role="radiogroup" aria-label="{_TITLE}" dir="ltr" '
        f'style="position:relative;margin-top:10px">{buttons(drawing)}'
        '<div style="display:flex;gap:20px;align-items:flex-start;overflow-x:auto;padding:2px">'
        f"{small_patterns(drawing)}{large_pattern(drawing)}</div></div>"
    )
    said = (
        f'<div class="{drawing.name}" style="{_SMALL}">{escaped(_how_to_read(found, drawing))} '
        f'<span class="ne-hint" style="display:none">{_HINT}</span></div>'
    )
    style = attention_style(drawing.name, drawing.layout)
    legend = weights_legend(drawing.limit, skip_first)
    return style + card(section(_TITLE, f"{legend}{said}{page}", note, 0), "ne-attention")


def _how_to_read(found: AttentionPatterns, drawing: Drawing) -> str:
    layout = drawing.layout
    parts = [
        "Small patterns: a row for each layer, a column for each head. In each pattern, downwards: the token that "
        "attends; to the right: the token that it attends to; grey: later tokens."
    ]
    if len(layout.layers) < len(found.by_layer):
        parts.append(f"Of {len(found.by_layer)} layers {number_ranges(layout.layers)} are shown.")
    if layout.n_tokens > LONGEST_DENSE:
        parts.append(f"The prompt is long: of each row only the {KEPT_OF_ROW} strongest weights are drawn.")
    if layout.block > 1:
        parts.append(f"A cell is the largest of {layout.block} × {layout.block} pairs.")
    pointed = "The pointer over a cell shows who attends to whom, and how much"
    count, n_cells = drawing.cells_of_others, layout.n_cells * (layout.n_cells + 1) // 2
    if count >= n_cells:
        return " ".join([*parts, f"{pointed}."])
    of_opened = "all cells" if n_cells <= CELLS_OF_OPENED else f"the {CELLS_OF_OPENED} strongest cells"
    head = "L{}H{}".format(*drawing.opened)
    return " ".join([*parts, f"{pointed}: for {of_opened} of {head}, and the {count} strongest of each other head."])
