"""Direct effects of all heads: a coloured cell for each, layers from left to right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.head_grid import head_grid
from neuron_explainer.views.heatmap import legend

if TYPE_CHECKING:
    import pandas

_TITLE = "Direct effects of heads"


def head_map(heads: pandas.DataFrame) -> str:
    """The map; empty if no head has a direct effect.

    Args:
        heads: a table of heads, as an answer gives it.
    """
    names = zip(heads["layer"], heads["component"], heads["name"], heads["direct_effect"], strict=True)
    by_place = {
        (int(layer), int(component)): (str(name), float(effect))
        for layer, component, name, effect in names
        if not math.isnan(effect)
    }
    if not by_place:
        return ""
    scale = ColourScale.of(effect for _, effect in by_place.values())
    return section(
        _TITLE, legend(scale) + head_grid(by_place, scale, _TITLE), "layers from left to right, summed over tokens"
    )
