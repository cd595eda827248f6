"""The result of path patching: a map of its senders, and the strongest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.views.attribution.cells import frame_html, section
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.components.head_grid import head_grid
from neuron_explainer.views.components.head_maps import plot_heads
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.experiments.two_runs import two_runs_html
from neuron_explainer.views.heatmap import DEFAULT_WIDTH, heatmap_text, legend
from neuron_explainer.views.plots import colours_of_scale
from neuron_explainer.views.scalar_heatmaps import ShownTokens
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from neuron_explainer.experiments.paths.path_patching import PathPatching

_N_SHOWN, _MOST_SENDERS = 15, 60
_FROZEN = {
    "heads": "all other heads frozen, MLPs computed anew",
    "heads+mlps": "all other heads and MLPs frozen",
}


def paths_html(paths: PathPatching) -> str:
    """The result as self-contained static HTML: both prompts, a map of heads if there is one, the strongest senders."""
    scale = _scale(paths)
    n, first = len(paths.runs), paths.runs[0]
    original = "clean" if paths.direction == "noise" else "corrupted"
    other = "corrupted" if paths.direction == "noise" else "clean"
    note = f"the {original} run, with each sender as in the {other} one; {_FROZEN[paths.freeze]}"
    values = (paths.clean_value, paths.corrupted_value)
    runs = two_runs_html(first.tokens, first.corrupted_tokens, values, paths.title, n, paths.hints)
    strongest = paths.top(_N_SHOWN).drop(columns=["layer", "component", "receivers", "n"], errors="ignore")
    said = f"effect: the metric with the sender minus that of the {original} run; score: 0 corrupted, 1 clean"
    said += "; std: the standard deviation over pairs" if n > 1 else ""
    return card(
        section(f"Direct paths to {paths.receivers}", runs, note, space=0)
        + _map(paths, scale)
        + section("Strongest senders", frame_html(strongest, {"effect": scale}), said),
        "ne-paths",
    )


def paths_figure(paths: PathPatching) -> go.Figure:
    """See `PathPatching.figure`."""
    effects = paths.effects.mean(axis=0)
    scale = _scale(paths)
    if paths.by_position:
        rows = effects.reshape(-1, len(paths.tokens))
        labels = [escaped(sender.whole_label) for sender in paths.senders[:: len(paths.tokens)]]
        trace = go.Heatmap(
            z=rows,
            customdata=[[each] * rows.shape[1] for each in labels],
            colorscale=colours_of_scale(scale),
            zmin=scale.low,
            zmax=scale.high if scale.limit else 1.0,
            hovertemplate="%{customdata}, %{x}: %{z:.4g}<extra></extra>",
            colorbar={"title": "effect"},
        )
        figure = go.Figure(trace)
        figure.update_xaxes(title="token", **ShownTokens(paths.tokens).ticks)
        figure.update_yaxes(title="sender", tickmode="array", tickvals=list(range(len(labels))), ticktext=labels)
        height = len(rows)
    elif _are_heads(paths):
        figure = plot_heads(paths.to_dataframe(), "effect")
        height = max(component for _, component in _heads(paths)) + 1
    else:
        strongest = np.argsort(-np.abs(effects), kind="stable")[:_MOST_SENDERS]
        bars = go.Bar(
            x=effects[strongest],
            y=[escaped(paths.senders[number].label) for number in strongest],
            orientation="h",
            marker={"color": [scale.background(value) for value in effects[strongest].tolist()]},
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        )
        figure = go.Figure(bars)
        figure.update_xaxes(title="effect")
        height = len(strongest)
    figure.update_yaxes(autorange="reversed")
    title = escaped(f"Direct paths to {paths.receivers}: effect on the {paths.title}")
    figure.update_layout(template="plotly_white", title=title, height=min(max(260, 140 + 22 * height), 1600))
    return SnapshotFigure(figure, paths_html(paths))


def _map(paths: PathPatching, scale: ColourScale) -> str:
    """A coloured cell for each head, or tokens in colour for each sender; empty if the senders are others."""
    if paths.by_position:
        return _by_position(paths, scale)
    if not _are_heads(paths):
        return ""
    grid = head_grid(_heads(paths), scale, f"Effects of heads on {paths.receivers}")
    return section("Heads", legend(scale) + grid, "effect on the metric", space=12)


def _by_position(paths: PathPatching, scale: ColourScale) -> str:
    """The prompt in the colours of each sender's effects, those of the largest effects."""
    rows = paths.effects.mean(axis=0).reshape(-1, len(paths.tokens))
    labels = [sender.whole_label for sender in paths.senders[:: len(paths.tokens)]]
    strongest = np.argsort(-np.abs(rows).max(axis=1), kind="stable")[:_N_SHOWN]
    lines = [
        [escaped(labels[number]), heatmap_text(paths.tokens, rows[number].tolist(), scale, DEFAULT_WIDTH, by_size=True)]
        for number in strongest
    ]
    note = "effect on the metric at each position by itself; bold: the largest"
    return section("By position", legend(scale) + html_table(["sender", "tokens"], lines), note, space=12)


def _scale(paths: PathPatching) -> ColourScale:
    return ColourScale.of(paths.effects.mean(axis=0).tolist())


def _are_heads(paths: PathPatching) -> bool:
    """Whether each sender is one head, at all tokens or at the same, and each head is there once."""
    nodes = [sender.only for sender in paths.senders]
    heads = {(node.layer, node.component) for node in nodes if node is not None and node.kind is NodeKind.HEAD}
    return not paths.by_position and len(heads) == len(nodes)


def _heads(paths: PathPatching) -> dict[tuple[int, int], tuple[str, float]]:
    """The name and the effect of each head, by layer and head."""
    nodes = [sender.nodes[0] for sender in paths.senders]
    return {
        (int(node.layer or 0), int(node.component or 0)): (str(node), effect)
        for node, effect in zip(nodes, paths.effects.mean(axis=0).tolist(), strict=True)
    }
