"""plotly figures that a saved notebook shows even where plotly is not available."""

from typing import Any

import plotly.graph_objects as go


class SnapshotFigure(go.Figure):
    """A plotly figure with static HTML that shows the same data.

    A notebook stores both in one output. A front end that can draw plotly figures shows the figure; others (GitHub, an
    export to HTML) show the HTML instead of nothing.

    Args:
        figure: the figure, or any other argument of `plotly.graph_objects.Figure`.
        snapshot: the static HTML.
        **options: keyword arguments of `plotly.graph_objects.Figure`.
    """

    def __init__(self, figure: Any = None, snapshot: str = "", **options: Any) -> None:
        super().__init__(figure, **options)
        self._snapshot = snapshot

    def _ipython_display_(self) -> None:
        import plotly.io
        from IPython.display import display

        rendered = self._repr_mimebundle_()
        if not (self._snapshot and rendered and plotly.io.renderers.render_on_display):
            super()._ipython_display_()  # as the user configured plotly: no output, or a browser window
            return
        display({"text/html": self._snapshot, **rendered}, raw=True)
