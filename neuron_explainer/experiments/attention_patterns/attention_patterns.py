"""`AttentionPatterns`: what `ne.attention` gives, and one of its heads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, parse_node
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.experiments.attention_patterns.strongest import strongest_table
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.vocabulary.checks import checked_flag, checked_number, whole_number
from neuron_explainer.wording import counted, number_ranges

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class AttentionPatterns:
    """The attention patterns of all heads on one prompt. In a notebook it shows itself.

    Attributes:
        model_name: the model's name.
        tokens: the prompt's tokens as text.
        token_ids: their ids.
        by_layer: (attended from, attended to, heads) for each layer, in the model's dtype, on the CPU.
        skip_first: whether pictures and the table leave out the first token.

    >>> import neuron_explainer as ne
    >>> patterns = ne.attention("tiny", "And the LORD said unto Moses", skip_first=True)
    >>> patterns
    AttentionPatterns('tiny', 7 tokens, layers 0–3, 4 heads)
    """

    model_name: str
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    by_layer: Mapping[int, Tensor]
    skip_first: bool = False

    @property
    def n_heads(self) -> int:
        """How many heads a layer has."""
        return next(iter(self.by_layer.values())).shape[-1]

    def pattern(self, layer: SupportsIndex | NodeGiven, head: SupportsIndex | None = None) -> NDArray[np.float32]:
        """A head's weights, (tokens, attended to), in float32; 0 where a token does not attend. All tokens are in it.

        Args:
            layer: the layer; or the head's name, "L3H2", and no second argument.
            head: the head.

        Raises:
            InvalidRequestError: there is no such layer or head.
            NodeNameError: a name cannot be read, or is not that of a head.

        >>> import neuron_explainer as ne
        >>> patterns = ne.attention("tiny", "And the LORD said")
        >>> bool((patterns.pattern(3, 2) == patterns.pattern("L3H2")).all())
        True
        """
        number, component = self._place(layer, head)
        weights: NDArray[np.float32] = self.by_layer[number][:, :, component].float().numpy()
        return weights.copy()

    def to_dataframe(self, n: SupportsIndex | None = 50, *, skip_first: bool | None = None) -> pandas.DataFrame:
        """The n strongest pairs of tokens over all heads, the strongest first.

        Columns: `name` (L3H2@5<-2: the token at 5 attends to that at 2), `layer`, `head`, `position`,
        `attended_position`, `token`, `attended_to`, `weight`. The first token's attention to itself is not a row, as
        it has no choice.

        Args:
            n: how many; None: all pairs.
            skip_first: whether attention to the first token is left out; None: as it was asked of `ne.attention`.

        Raises:
            InvalidRequestError: `n` is not a whole number from 1 on.

        >>> import neuron_explainer as ne
        >>> patterns = ne.attention("tiny", "And the LORD said unto Moses")
        >>> patterns.to_dataframe(1, skip_first=True)["name"].item()
        'L2H3@3<-2'
        """
        number = None if n is None else checked_number("n", n)
        return strongest_table(self.by_layer, self.tokens, number, self._skips(skip_first))

    def head(self, layer: SupportsIndex | NodeGiven, head: SupportsIndex | None = None) -> HeadPattern:
        """One head, which shows itself: the prompt with bars, the strongest pairs, and the matrix.

        Args and Raises: as those of `pattern`.

        >>> import neuron_explainer as ne
        >>> ne.attention("tiny", "And the LORD said").head("L3H2").name
        'L3H2'
        """
        number, component = self._place(layer, head)
        name = f"L{number}H{component}"
        return HeadPattern(name, self.tokens, self.pattern(number, component), self.skip_first)

    def figure(self, layer: SupportsIndex | NodeGiven, head: SupportsIndex | None = None) -> Any:
        """One head as a plotly figure, a heatmap: rows attend to columns, both by token.

        Args and Raises: as those of `pattern`; and InvalidRequestError, if the prompt has more tokens than a figure
        shows well, or none is left without the first.

        >>> import neuron_explainer as ne
        >>> figure = ne.attention("tiny", "And the LORD said").figure(3, 2)
        """
        from neuron_explainer.views.experiments.attention.figure import attention_figure

        number, component = self._place(layer, head)
        return attention_figure(self, number, component)

    def to_html(self, opened: NodeGiven | None = None, *, skip_first: bool | None = None) -> str:
        """All heads as small patterns, and one of them large, as static HTML.

        A click on a small pattern, or an arrow key, shows another head large. No script runs and no kernel is asked,
        so this works in a saved notebook, too.

        Args:
            opened: the name of the head that is large at first; None: the one with the largest weight on another token
                than itself and the first.
            skip_first: whether the first token is left out; None: as it was asked of `ne.attention`.

        Raises:
            InvalidRequestError: there is no such head.
            NodeNameError: `opened` is not the name of a head.

        >>> import neuron_explainer as ne
        >>> html = ne.attention("tiny", "And the LORD said").to_html("L3H2")
        """
        from neuron_explainer.views.experiments.attention.page import attention_html

        place = self._most_telling() if opened is None else self._place(opened, None)
        return attention_html(self, place, self._skips(skip_first))

    def save_html(self, path: str | os.PathLike[str], opened: NodeGiven | None = None) -> None:
        """Write the page of `to_html` to an HTML file of its own, which needs nothing else.

        Raises:
            UnsupportedLocationError: `path` is not a local path.
            InvalidRequestError, NodeNameError: as `to_html`.

        >>> import neuron_explainer as ne
        >>> ne.attention("tiny", "And the LORD said").save_html("attention.html")
        """
        from neuron_explainer.views.document import html_document

        document = html_document(self.to_html(opened), f"Attention patterns of {self.model_name}")
        write_bytes_atomically(path_text(path), document.encode())

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        layers = f"layer{'' if len(self.by_layer) == 1 else 's'} {number_ranges(self.by_layer)}"
        n_tokens = counted(len(self.tokens), "token")
        return f"AttentionPatterns({self.model_name!r}, {n_tokens}, {layers}, {counted(self.n_heads, 'head')})"

    def _skips(self, skip_first: bool | None) -> bool:
        return self.skip_first if skip_first is None else checked_flag("skip_first", skip_first)

    def _place(self, layer: Any, head: Any) -> tuple[int, int]:
        """Layer and head as numbers."""
        if head is None:
            if whole_number(layer) is not None:
                raise InvalidRequestError(f"Give layer and head, as in pattern({shown(layer)}, 0), or a name: L3H2.")
            name = parse_node(layer, kind=NodeKind.HEAD)
            layer, head = name.layer, name.component
        number, component = whole_number(layer), whole_number(head)
        if number is None or number not in self.by_layer:
            raise InvalidRequestError(
                f"Layer {shown(layer)} was not read. Choose one of: {number_ranges(self.by_layer)}."
            )
        if component is None or not 0 <= component < self.n_heads:
            raise InvalidRequestError(
                f"Layer {number} has no head {shown(head)}. Choose one of: {number_ranges(range(self.n_heads))}."
            )
        return number, component

    def _most_telling(self) -> tuple[int, int]:
        """The head with the largest weight on another token than itself and the first."""
        best = (-1.0, next(iter(self.by_layer)), 0)
        for layer, weights in self.by_layer.items():
            earlier = weights[1:, 1:].float().movedim(2, 0).tril(-1)
            if earlier.numel():
                largest = earlier.flatten(1).amax(1).nan_to_num(0.0)
                head = int(largest.argmax())
                best = max(best, (float(largest[head]), layer, head), key=lambda each: each[0])
        return best[1], best[2]


@dataclass(frozen=True, eq=False)
class HeadPattern:
    """One head's attention pattern on a prompt. In a notebook it shows itself.

    Attributes:
        name: the head's name.
        tokens: the prompt's tokens as text.
        weights: (tokens, attended to), in float32; 0 where a token does not attend.
        skip_first: whether the picture leaves out attention to the first token.
    """

    name: str
    tokens: tuple[str, ...]
    weights: NDArray[np.float32]
    skip_first: bool = False

    def to_html(self) -> str:
        """The prompt with bars, the strongest pairs and the matrix, as static HTML."""
        from neuron_explainer.views.attribution.pattern import head_card

        return head_card(self.name, self.tokens, self.weights, self.skip_first)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return f"HeadPattern({self.name}, {counted(len(self.tokens), 'token')})"
