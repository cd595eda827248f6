"""`HeadScores`: the table that `ne.head_scores` gives."""

from __future__ import annotations

from neuron_explainer.activations.token_table import TokenTable


class HeadScores(TokenTable):
    """A row for each head. A notebook shows pictures of layers × heads above the table.

    `ne.plot_heads(scores, column)` draws one column as a figure.
    """

    @property
    def _constructor(self) -> type[HeadScores]:
        return HeadScores

    def _repr_html_(self) -> str | None:
        table = super()._repr_html_()
        if table is None:
            return None
        from neuron_explainer.views.components.head_maps import head_maps_html

        return head_maps_html(self) + table
