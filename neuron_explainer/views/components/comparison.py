"""Several components on the same texts: a strip of each, one above the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import LINE, MUTED, card
from neuron_explainer.views.heatmap import heatmap_text, legend
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from neuron_explainer.components.comparing import ComponentComparison

_NAME = f"color:{MUTED};font-size:12px;margin-top:6px"


def strips_html(comparison: ComponentComparison) -> str:
    """A comparison as self-contained static HTML: for each text a strip of each component, in colours.

    Args:
        comparison: the components on the texts.
    """
    from neuron_explainer.views.attribution.cells import node_mark

    by_text = comparison.activations()
    own = [
        ColourScale.of([value for of_text in by_text for value in of_text[number]])
        for number in range(len(comparison.components))
    ]
    is_shared = comparison.scale == "shared"
    if is_shared:
        own = [ColourScale(min(scale.low for scale in own), max(scale.high for scale in own))] * len(own)
    parts = [legend(own[0], note="one scale for all")] if is_shared else []
    several = comparison.tokens()
    first = next(number for number, tokens in enumerate(several) if tokens)
    for number, (tokens, of_text) in enumerate(zip(several, by_text, strict=True)):
        if not tokens:
            continue  # an empty text, which is numbered
        strips = "".join(
            f'<div {node_mark(str(component.name))} style="{_NAME}"><b>{escaped(label)}</b></div>'
            + ("" if is_shared else legend(scale))
            + heatmap_text(tokens, values, scale, None)
            for component, label, scale, values in zip(
                comparison.components, comparison.labels, own, of_text, strict=True
            )
        )
        heading = f"<div><b>Text {number}</b></div>" if len(by_text) > 1 else ""
        border = f"border-top:1px solid {LINE};" if number > first else ""
        parts.append(f'<div style="{border}padding:6px 0">{heading}{strips}</div>')
    return card("".join(parts), "ne-components")
