"""One head's attention pattern as a plotly heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.attribution.pattern import ONLY_TOKEN
from neuron_explainer.views.scalar_heatmaps import ShownTokens, patterns
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from neuron_explainer.experiments.attention_patterns.attention_patterns import AttentionPatterns

_MOST_TOKENS = 1024  # a million cells, about 10 MB in a notebook


def attention_figure(found: AttentionPatterns, layer: int, head: int) -> go.Figure:
    """The figure of `AttentionPatterns.figure`.

    Raises:
        InvalidRequestError: there are more than 1,024 tokens, or none without the first one.
    """
    if len(found.tokens) > _MOST_TOKENS:
        raise InvalidRequestError(
            f"The prompt has {len(found.tokens):,} tokens; a figure shows at most {_MOST_TOKENS:,} well. Take part of "
            "pattern(layer, head), or see head(layer, head)."
        )
    if found.skip_first and len(found.tokens) == 1:
        raise InvalidRequestError(ONLY_TOKEN)
    shown = ShownTokens(found.tokens, int(found.skip_first))
    kind = DerivedScalarType.ATTN_QK_PROBS
    return patterns(shown, kind, layer, found.by_layer[layer], head, 1, PassType.FORWARD)
