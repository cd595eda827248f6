"""The heatmaps of derived scalars: tokens × layers, tokens × components, and attention patterns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from torch import Tensor

from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import ColourScale, plotly_colour_scale
from neuron_explainer.views.scalar_snapshots import patterns_html, rows_html
from neuron_explainer.views.snapshot_figure import SnapshotFigure
from neuron_explainer.views.token_text import plotly_label
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

PATTERNS = (DerivedScalarType.ATTN_QK_PROBS, DerivedScalarType.ATTN_QK_LOGITS)
"""Attention patterns: a sum over their heads or their attended-to tokens means little (1, of probabilities)."""

Matrix = NDArray[np.float64]
_TEMPLATE = "plotly_white"
_MOST_COLUMNS = 4
_MOST_CELLS = 3_000_000  # about 30 MB in a notebook
_ROW_HEIGHT, _PANEL_HEIGHT, _MARGINS = 20, 230, 170  # pixels
_SMALL_PANEL_HEIGHT = 110


@dataclass(frozen=True)
class ShownTokens:
    """A prompt's tokens, of which a figure shows those from position `first` on."""

    of_prompt: Sequence[str]
    first: int = 0

    @property
    def texts(self) -> list[str]:
        """The tokens that are shown."""
        return list(self.of_prompt[self.first :])

    @property
    def ticks(self) -> dict[str, object]:
        """An axis with a label for each token; by position, so that two tokens with the same text stay separate."""
        return _ticks([plotly_label(token) for token in self.texts])


@dataclass(frozen=True)
class _Panel:
    """One head's pattern in a figure."""

    name: str
    matrix: Matrix


def tokens_by_layers(
    tokens: ShownTokens, dst: DerivedScalarType, by_layer: Mapping[int | None, Tensor], pass_type: PassType
) -> go.Figure:
    """Tokens on the x axis, layers on the y axis. Each cell is the sum over all of the layer's values at the token."""
    rows = np.stack([_summed_by_token(tensor, dst, tokens) for tensor in by_layer.values()])
    is_sum = any(tensor.shape[-1] > 1 or tensor.ndim > 2 for tensor in by_layer.values())
    labels = ["all layers" if layer is None else str(layer) for layer in by_layer]
    title = f"{_title(dst, pass_type)}, summed over each layer's components" if is_sum else _title(dst, pass_type)
    scale = _scale_of(rows)
    figure = _heatmap(rows, tokens, labels, "layer %{y}", scale)
    names = [label if label == "all layers" else f"layer {label}" for label in labels]
    snapshot = rows_html(title, tokens.texts, names, rows, scale)
    return SnapshotFigure(_laid_out(figure, title, "token", "layer", len(rows)), snapshot)


def tokens_by_components(
    tokens: ShownTokens,
    dst: DerivedScalarType,
    layer: int | None,
    tensor: Tensor,
    component: int | None,
    k: int,
    pass_type: PassType,
) -> go.Figure:
    """Tokens on the x axis, the k components of largest magnitude on the y axis, the largest on top."""
    tensor = tensor[tokens.first :]
    if component is None:
        magnitudes = tensor.abs().nan_to_num(posinf=0.0, neginf=0.0).amax(dim=0)
        shown = magnitudes.topk(min(k, tensor.shape[-1])).indices.tolist()
    else:
        shown = [component]
    names = [NodeName.of(DerivedScalarIndex(dst, layer, ("All", number))).component_name for number in shown]
    rows = _numbers(tensor[:, shown].T)
    scale = _scale_of(rows)
    figure = _heatmap(rows, tokens, names, "%{y}", scale)
    figure.update_yaxes(autorange="reversed")
    n_all = tensor.shape[-1]
    more = f", the {len(shown)} of {n_all} with the largest magnitudes" if len(shown) < n_all else ""
    title = f"{_title(dst, pass_type)}{_in_layer(layer)}{more if component is None else ''}"
    snapshot = rows_html(title, tokens.texts, names, rows, scale)
    return SnapshotFigure(_laid_out(figure, title, "token", "component", len(shown)), snapshot)


def patterns(
    tokens: ShownTokens,
    dst: DerivedScalarType,
    layer: int | None,
    tensor: Tensor,
    component: int | None,
    k: int,
    pass_type: PassType,
) -> go.Figure:
    """The matrix (attended from, attended to) of one head, or of each of the k heads with the largest magnitudes."""
    panels = _panels(tensor, dst, layer, tokens)
    if component is None:
        magnitudes = [np.nanmax(np.abs(panel.matrix), initial=0.0) for panel in panels]
        shown = sorted(sorted(range(len(panels)), key=lambda number: -magnitudes[number])[:k])
    else:
        shown = [component]
    chosen = [panels[number] for number in shown]
    is_alone = len(chosen) == 1
    title = f"{_title(dst, pass_type)}{_in_layer(layer)}" + (f", {chosen[0].name}" if is_alone else "")
    figure = _grid(chosen, tokens, min(_MOST_COLUMNS, len(chosen)), _scale_of_patterns(dst, pass_type, chosen), title)
    if is_alone:
        figure.update_xaxes(title="attended to", showticklabels=True, tickfont_size=11)
        figure.update_yaxes(title="attended from", showticklabels=True, tickfont_size=11)
        figure.update_layout(title=title, height=min(max(160 + 24 * len(tokens.texts), 340), 1600))
    return figure


def patterns_by_layer(
    tokens: ShownTokens, dst: DerivedScalarType, by_layer: Mapping[int | None, Tensor], pass_type: PassType
) -> go.Figure:
    """The matrix (attended from, attended to) of every head, a row for each layer.

    Raises:
        InvalidRequestError: they have over 3 million cells.
    """
    n_heads = max(tensor.shape[-1] for tensor in by_layer.values())
    n_cells = len(by_layer) * n_heads * len(tokens.texts) ** 2
    if n_cells > _MOST_CELLS:
        raise InvalidRequestError(
            f"The patterns of {len(by_layer)} layers have {n_cells:,} cells, more than the {_MOST_CELLS:,} that a "
            "notebook shows well. Give a layer, or a shorter prompt."
        )
    panels = [panel for layer, tensor in by_layer.items() for panel in _panels(tensor, dst, layer, tokens)]
    scale = _scale_of_patterns(dst, pass_type, panels)
    return _grid(panels, tokens, n_heads, scale, _title(dst, pass_type), _SMALL_PANEL_HEIGHT)


def _grid(
    panels: Sequence[_Panel],
    tokens: ShownTokens,
    n_columns: int,
    scale: ColourScale,
    title: str,
    panel_height: int = _PANEL_HEIGHT,
) -> go.Figure:
    """Patterns side by side, in one scale."""
    n_rows = math.ceil(len(panels) / n_columns)
    figure = make_subplots(
        rows=n_rows,
        cols=n_columns,
        subplot_titles=[panel.name for panel in panels] if len(panels) > 1 else None,
        horizontal_spacing=0.2 / n_columns,
        vertical_spacing=min(0.35, 40 / panel_height) / n_rows,
    )
    figure.add_traces(
        [
            _heatmap_trace(panel.matrix, scale, "%{y} attends to %{x}", show_scale=number == 0)
            for number, panel in enumerate(panels)
        ],
        rows=[number // n_columns + 1 for number in range(len(panels))],
        cols=[number % n_columns + 1 for number in range(len(panels))],
    )
    are_labelled = len(tokens.texts) <= 12 and panel_height == _PANEL_HEIGHT
    axes = {**tokens.ticks, "showticklabels": are_labelled, "tickfont_size": 8, "showgrid": False}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes, autorange="reversed")
    figure.update_annotations(font_size=12 if panel_height == _PANEL_HEIGHT else 9)
    height = min(max(110 + panel_height * n_rows, 340), 4000)
    figure.update_layout(template=_TEMPLATE, title=f"{title}: rows attend to columns", height=height)
    named = [(panel.name, panel.matrix) for panel in panels]
    return SnapshotFigure(figure, patterns_html(title, tokens.texts, named, scale))


def _panels(tensor: Tensor, dst: DerivedScalarType, layer: int | None, tokens: ShownTokens) -> list[_Panel]:
    token_axes: tuple[None, ...] = (None,) * (len(dst.shape_spec_per_token_sequence) - 1)
    return [
        _Panel(NodeName.of(DerivedScalarIndex(dst, layer, (*token_axes, number))).component_name, matrix)
        for number, matrix in enumerate(_pair_matrices(tensor, dst, tokens))
    ]


def _title(dst: DerivedScalarType, pass_type: PassType) -> str:
    name = dst.value.replace("_", " ")
    return f"gradient with respect to {name}" if pass_type is PassType.BACKWARD else name


def _in_layer(layer: int | None) -> str:
    return "" if layer is None else f", layer {layer}"


def _ticks(labels: list[str]) -> dict[str, object]:
    return {"tickmode": "array", "tickvals": list(range(len(labels))), "ticktext": labels}


def _numbers(tensor: Tensor) -> Matrix:
    """The values as float64, with NaN for masked ones (-inf), which plotly leaves empty."""
    numbers = tensor.detach().double().cpu().numpy().copy()
    numbers[np.isneginf(numbers)] = np.nan
    return np.asarray(numbers, dtype=np.float64)


def _pair_matrices(tensor: Tensor, dst: DerivedScalarType, tokens: ShownTokens) -> list[Matrix]:
    """The matrix (attended from, attended to) of each component; NaN where a token does not attend."""
    numbers, n_tokens = _numbers(tensor), len(tokens.of_prompt)
    if dst.shape_spec_per_token_sequence[0] is Dimension.SEQUENCE_TOKEN_PAIRS:
        matrices = [unflatten(numbers[:, number], n_tokens) for number in range(numbers.shape[-1])]
    else:
        attends = np.tril(np.ones((n_tokens, n_tokens), dtype=bool))
        matrices = [np.where(attends, numbers[:, :, number], np.nan) for number in range(numbers.shape[-1])]
    return [np.asarray(matrix[tokens.first :, tokens.first :]) for matrix in matrices]


def _summed_by_token(tensor: Tensor, dst: DerivedScalarType, tokens: ShownTokens) -> Matrix:
    dimensions = dst.shape_spec_per_token_sequence
    if Dimension.SEQUENCE_TOKEN_PAIRS in dimensions:
        matrices = _pair_matrices(tensor, dst, tokens)
        return np.asarray(np.nansum(np.stack(matrices), axis=(0, 2)))
    numbers = _numbers(tensor)[tokens.first :]
    if Dimension.ATTENDED_TO_SEQUENCE_TOKENS in dimensions[1:2]:
        numbers = numbers[:, tokens.first :]
    return np.asarray(np.nansum(numbers, axis=tuple(range(1, numbers.ndim))))


def _scale_of(numbers: Matrix) -> ColourScale:
    return ColourScale.of(numbers[np.isfinite(numbers)].tolist())


def _scale_of_patterns(dst: DerivedScalarType, pass_type: PassType, panels: Sequence[_Panel]) -> ColourScale:
    """The scale of all patterns; that of probabilities is always from 0 to 1."""
    if dst is DerivedScalarType.ATTN_QK_PROBS and pass_type is PassType.FORWARD:
        return ColourScale(0.0, 1.0)
    ends = [_ends(panel.matrix) for panel in panels]
    return ColourScale(min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0))


def _ends(matrix: Matrix) -> tuple[float, float]:
    finite = matrix[np.isfinite(matrix)]
    return float(finite.min(initial=0.0)), float(finite.max(initial=0.0))


def _heatmap_trace(numbers: Matrix, scale: ColourScale, cell_name: str, show_scale: bool = True) -> go.Heatmap:
    limit = scale.limit or 1.0
    is_signed = scale.low < 0
    return go.Heatmap(
        z=numbers,
        zmin=-limit if is_signed else 0.0,
        zmax=limit,
        colorscale=plotly_colour_scale(is_signed),
        showscale=show_scale,
        hoverongaps=False,
        hovertemplate=f"{cell_name}: %{{z:.4g}}<extra></extra>",
    )


def _heatmap(numbers: Matrix, tokens: ShownTokens, rows: list[str], row_name: str, scale: ColourScale) -> go.Figure:
    figure = go.Figure(_heatmap_trace(numbers, scale, f"{row_name}, %{{x}}"))
    figure.update_xaxes(**tokens.ticks)
    figure.update_yaxes(**_ticks(rows))
    return figure


def _laid_out(figure: go.Figure, title: str, x: str, y: str, n_rows: int) -> go.Figure:
    height = min(max(_MARGINS + _ROW_HEIGHT * n_rows, 300), 1600)
    return figure.update_layout(template=_TEMPLATE, title=title, xaxis_title=x, yaxis_title=y, height=height)
