"""The components of a whole dataset as points: one statistic against another."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.token_text import escaped, plotly_label
from neuron_explainer.vocabulary.checks import checked_flag

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

MOST_POINTS = 20_000
"""More are slow to draw; of a larger dataset so many are drawn, chosen at random."""
_LOGARITHMIC = ("frequency", "variance", "standard_deviation")
_WIDTH, _HEIGHT = 480, 300  # pixels of the snapshot


def plot_dataset_statistics(
    statistics: pandas.DataFrame,
    x: str = "frequency",
    y: str = "max",
    *,
    colour: str | None = "layer",
    log_x: bool | None = None,
    log_y: bool | None = None,
) -> go.Figure:
    """A plotly scatter of a dataset's components; a point's label has its name and its top token.

    Args:
        statistics: a table that `ne.dataset_statistics` gives, or a selection of its rows.
        x, y: columns with numbers.
        colour: a column with numbers that colours the points; None: one colour.
        log_x, log_y: whether an axis is logarithmic; None: for frequencies, variances and standard deviations. Such an
            axis leaves out components whose number is not above 0, and says how many.

    Raises:
        InvalidRequestError: it is not such a table, or no component has both numbers.
        UnknownNameError: it has no such column with numbers.

    >>> import neuron_explainer as ne
    >>> figure = ne.plot_dataset_statistics(ne.dataset_statistics("tiny", progress=False))
    """
    columns = [str(name) for name in getattr(statistics, "columns", ())]
    if "name" not in columns:
        raise InvalidRequestError(f"{shown(statistics, 80)} is not a table that ne.dataset_statistics gives.")
    numeric = [name for name in columns if statistics[name].dtype.kind in "if" and name != "component"]
    for given in (x, y, *([] if colour is None else [colour])):
        if given not in numeric:
            raise UnknownNameError("column with numbers", str(given), numeric)
    logs = [
        name in _LOGARITHMIC if given is None else checked_flag(label, given)
        for label, name, given in (("log_x", x, log_x), ("log_y", y, log_y))
    ]
    horizontal, vertical = (statistics[name].to_numpy(dtype=np.float64) for name in (x, y))
    kept = np.isfinite(horizontal) & np.isfinite(vertical)
    for values, is_log in zip((horizontal, vertical), logs, strict=True):
        kept &= (values > 0) | (not is_log)
    if not kept.any():
        raise InvalidRequestError(f"No component has both {x} and {y}" + (" above 0." if any(logs) else "."))
    chosen = np.flatnonzero(kept)
    if len(chosen) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False))
    about = _about(len(statistics), int(kept.sum()), len(chosen))
    rows = statistics.iloc[chosen]
    figure = go.Figure(
        go.Scatter(
            x=horizontal[chosen],
            y=vertical[chosen],
            mode="markers",
            customdata=_labels(rows),
            marker={
                "size": 5,
                "opacity": 0.6,
                "color": MUTED if colour is None else rows[colour].to_numpy(),
                "colorscale": "Viridis",
                "showscale": colour is not None,
                "colorbar": {"title": colour},
            },
            hovertemplate="%{customdata}<br>" + f"{x} %{{x:.4g}}, {y} %{{y:.4g}}<extra></extra>",
        )
    )
    figure.update_layout(
        template="plotly_white",
        title=about,
        xaxis={"title": x, "type": "log" if logs[0] else "linear"},
        yaxis={"title": y, "type": "log" if logs[1] else "linear"},
        height=440,
    )
    return SnapshotFigure(figure, _snapshot(horizontal[chosen], vertical[chosen], logs, (x, y), about))


def _about(n_all: int, n_kept: int, n_drawn: int) -> str:
    words = f"{n_drawn:,} components"
    if n_drawn < n_kept:
        words += f", chosen at random among {n_kept:,}"
    return words + (f"; {n_all - n_kept:,} without both numbers are left out" if n_kept < n_all else "")


def _labels(rows: pandas.DataFrame) -> list[str]:
    if "top_token" not in rows.columns:
        return [str(name) for name in rows["name"]]
    return [
        f"{name} {plotly_label(token)}" if isinstance(token, str) else str(name)
        for name, token in zip(rows["name"], rows["top_token"], strict=True)
    ]


def _snapshot(
    horizontal: NDArray[np.float64],
    vertical: NDArray[np.float64],
    logs: list[bool],
    names: tuple[str, str],
    about: str,
) -> str:
    """The points as a picture in the page: darker where there are more."""
    axes = [np.log10(values) if is_log else values for values, is_log in zip((horizontal, vertical), logs, strict=True)]
    counts, _, _ = np.histogram2d(axes[1], axes[0], bins=(_HEIGHT // 4, _WIDTH // 4))
    shade = np.log1p(counts) / np.log1p(counts.max())
    grey = np.where(counts > 0, 200 - 170 * shade, 255).astype(np.uint8)[::-1]
    file = io.BytesIO()
    image = Image.fromarray(grey, mode="L").resize((_WIDTH, _HEIGHT), Image.Resampling.NEAREST)
    image.save(file, "PNG", optimize=True)
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    limits = [
        f"{format_value(float(values.min()))} to {format_value(float(values.max()))}"
        for values in (horizontal, vertical)
    ]
    scales = ["on a log scale" if is_log else "" for is_log in logs]
    words = "; ".join(
        f"{where}: {name}, {limit} {scale}".strip()
        for where, name, limit, scale in zip(("across", "up"), names, limits, scales, strict=True)
    )
    return card(
        f"<div><b>{escaped(about)}</b></div>"
        f'<img src="{address}" alt="{escaped(f"{names[1]} against {names[0]}")}" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<div style="color:{MUTED};font-size:12px">{escaped(words)}</div>'
    )
