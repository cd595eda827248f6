"""What a page of attention patterns draws: its tokens, weights, pictures and layout."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuron_explainer.views.attribution.pattern import largest_weight
from neuron_explainer.views.attribution.pattern_pictures import strip
from neuron_explainer.views.experiments.attention.layout import GAP, Layout
from neuron_explainer.views.token_text import escaped, token_label

if TYPE_CHECKING:
    from neuron_explainer.experiments.attention_patterns.attention_patterns import AttentionPatterns

LONGEST_DENSE, KEPT_OF_ROW = 64, 4
"""Above how many tokens only so many of each row's weights are drawn."""

CELLS_OF_OPENED = 700
"""How many cells of the head that is large at first tell of themselves, at most."""

_CELLS_OF_ALL, _FEWEST_CELLS = 1700, 3
_MOST_HEADS = 1200
_LONGEST_TOKEN = 24


@dataclass(frozen=True)
class ShownPrompt:
    """The prompt's tokens that are shown: those from position `first` on."""

    tokens: Sequence[str]
    first: int

    def short(self, number: int) -> str:
        """The token that is shown as the one of that number, cut if it is long."""
        token = self.tokens[self.first + number]
        return token if len(token) <= _LONGEST_TOKEN else f"{token[:_LONGEST_TOKEN]}…"

    def name(self, number: int) -> str:
        """The token and its position; HTML."""
        return escaped(f"{token_label(self.short(number))} ({self.first + number})")


@dataclass(frozen=True)
class Drawing:
    """All that a page draws.

    Attributes:
        name: the class and the group of this page alone; no other output has it, so that each has its own choice.
        layout: sizes and positions.
        prompt: the tokens.
        weights: what is drawn of each layer, (attended from, attended to, heads).
        strips: the picture of each layer.
        limit: the weight of the deepest colour.
        opened: the layer and the head that is large at first.
    """

    name: str
    layout: Layout
    prompt: ShownPrompt
    weights: Mapping[int, Tensor]
    strips: Mapping[int, str]
    limit: float
    opened: tuple[int, int]

    @classmethod
    def of(cls, found: AttentionPatterns, opened: tuple[int, int], skip_first: bool) -> Drawing:
        """The drawing of patterns; of more than 1,200 heads, of the layers up to the one that is opened."""
        first = int(skip_first)
        layout = Layout(_shown_layers(found, opened[0]), found.n_heads, len(found.tokens) - first)
        weights = {layer: drawn_weights(found.by_layer[layer][first:, first:]) for layer in layout.layers}
        limit = largest_weight(float(each.max()) for each in weights.values()) if skip_first else 1.0
        strips = {layer: strip(each, limit, layout.n_cells, layout.zoom, GAP) for layer, each in weights.items()}
        prompt = ShownPrompt(found.tokens, first)
        return cls(f"ne-{uuid.uuid4().hex[:8]}", layout, prompt, weights, strips, limit, opened)

    @property
    def cells_of_others(self) -> int:
        """How many cells of a head that is not opened at first tell of themselves: fewer of more heads."""
        return max(_FEWEST_CELLS, _CELLS_OF_ALL // (len(self.layout.layers) * self.layout.n_heads))

    def is_opened(self, layer: int, head: int) -> bool:
        """Whether the head is large at first."""
        return (layer, head) == self.opened


def drawn_weights(weights: Tensor) -> Tensor:
    """The weights that are drawn: of a long prompt only the strongest of each row, the others 0.

    Args:
        weights: (attended from, attended to, heads), of the tokens that are shown.
    """
    weights = weights.float().nan_to_num(0.0)
    if len(weights) <= LONGEST_DENSE:
        return weights
    values, columns = weights.topk(KEPT_OF_ROW, dim=1)
    return torch.zeros_like(weights).scatter_(1, columns, values)


def _shown_layers(found: AttentionPatterns, opened: int) -> list[int]:
    """All layers, or as many as a page holds, the one that is opened among them."""
    layers, most = list(found.by_layer), max(1, _MOST_HEADS // found.n_heads)
    start = max(0, layers.index(opened) + 1 - most)
    return layers[start : start + most]
