"""plotly figures that a saved notebook shows even where plotly is not at hand."""

from typing import Any

import plotly.graph_objects as go


class SnapshotFigure(go.Figure):
    """A plotly figure, and static HTML that says the same.

    A notebook keeps both in one output. A front end that draws plotly's figures takes the figure; one that does not
    (GitHub, an export to HTML) takes the HTML, where it would else show nothing.

    Args:
        figure: the figure, or anything else that `plotly.graph_objects.Figure` takes.
        snapshot: the static HTML.
    """

    def __init__(self, figure: Any = None, snapshot: str = "", **options: Any) -> None:
        super().__init__(figure, **options)
        self._snapshot = snapshot

    def _ipython_display_(self) -> None:
        import plotly.io
        from IPython.display import display

        rendered = self._repr_mimebundle_()
        if not (self._snapshot and rendered and plotly.io.renderers.render_on_display):
            super()._ipython_display_()  # as the user has set plotly up: nothing, or a window of its own
            return
        display({"text/html": self._snapshot, **rendered}, raw=True)
