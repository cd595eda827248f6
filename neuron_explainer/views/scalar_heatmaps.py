"""The heatmaps of derived scalars: tokens × layers, tokens × components, and attention patterns."""

import math

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from torch import Tensor

from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.store.component_names import component_name
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.views.colour import ColourScale, plotly_colour_scale
from neuron_explainer.views.token_text import plotly_label
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

Matrix = NDArray[np.float64]
_TEMPLATE = "plotly_white"
_MOST_COLUMNS = 4
_ROW_HEIGHT, _PANEL_HEIGHT, _MARGINS = 20, 230, 170  # pixels


def tokens_by_layers(store: DerivedScalarStore, dst: DerivedScalarType, pass_type: PassType) -> go.Figure:
    """Tokens on the x axis, layers on the y axis. Each cell is the sum over all of the layer's values at the token."""
    by_layer = store.activations(dst, pass_type)
    rows = [_summed_by_token(tensor, dst, len(store.tokens)) for tensor in by_layer.values()]
    is_sum = any(tensor.shape[-1] > 1 or tensor.ndim > 2 for tensor in by_layer.values())
    labels = [str(layer) for layer in by_layer]
    title = f"{_title(dst, pass_type)}, summed over each layer's components" if is_sum else _title(dst, pass_type)
    figure = _heatmap(np.stack(rows), _token_labels(store), labels, "layer %{y}")
    return _laid_out(figure, title, "token", "layer", len(rows))


def tokens_by_components(
    store: DerivedScalarStore,
    dst: DerivedScalarType,
    layer: int | None,
    tensor: Tensor,
    component: int | None,
    k: int,
) -> go.Figure:
    """Tokens on the x axis, the k components of largest magnitude on the y axis, the largest on top."""
    if component is None:
        magnitudes = tensor.abs().nan_to_num(posinf=0.0, neginf=0.0).amax(dim=0)
        shown = magnitudes.topk(min(k, tensor.shape[-1])).indices.tolist()
    else:
        shown = [component]
    names = [component_name(DerivedScalarIndex(dst, layer, ("All", number))) for number in shown]
    figure = _heatmap(_numbers(tensor[:, shown].T), _token_labels(store), names, "%{y}")
    figure.update_yaxes(autorange="reversed")
    n_all = tensor.shape[-1]
    more = f", the {len(shown)} of {n_all} with the largest magnitudes" if len(shown) < n_all else ""
    where = "" if layer is None else f", layer {layer}"
    title = f"{_title(dst)}{where}{more if component is None else ''}"
    return _laid_out(figure, title, "token", "component", len(shown))


def patterns(
    store: DerivedScalarStore,
    dst: DerivedScalarType,
    layer: int | None,
    tensor: Tensor,
    component: int | None,
    k: int,
) -> go.Figure:
    """The matrix (attended from, attended to) of one head, or of each of the k heads with the largest magnitudes."""
    matrices = _pair_matrices(tensor, dst, len(store.tokens))
    if component is None:
        magnitudes = [np.nanmax(np.abs(matrix), initial=0.0) for matrix in matrices]
        shown = sorted(sorted(range(len(matrices)), key=lambda number: -magnitudes[number])[:k])
    else:
        shown = [component]
    labels = _token_labels(store)
    token_axes: tuple[None, ...] = (None,) * (len(dst.shape_spec_per_token_sequence) - 1)
    names = [component_name(DerivedScalarIndex(dst, layer, (*token_axes, number))) for number in shown]
    n_columns = min(_MOST_COLUMNS, len(shown))
    n_rows = math.ceil(len(shown) / n_columns)
    figure = make_subplots(rows=n_rows, cols=n_columns, subplot_titles=names if len(shown) > 1 else None)
    limit = max((np.nanmax(np.abs(matrices[number]), initial=0.0) for number in shown), default=0.0) or 1.0
    for panel, number in enumerate(shown):
        trace = _heatmap_trace(matrices[number], limit, "%{y} attends to %{x}", show_scale=panel == 0)
        figure.add_trace(trace, row=panel // n_columns + 1, col=panel % n_columns + 1)
    ticks = _ticks(labels)
    is_alone = len(shown) == 1
    figure.update_xaxes(**ticks, showticklabels=is_alone or len(labels) <= 12, tickfont_size=11 if is_alone else 8)
    figure.update_yaxes(**ticks, autorange="reversed", showticklabels=is_alone or len(labels) <= 12)
    figure.update_yaxes(tickfont_size=11 if is_alone else 8)
    if is_alone:
        figure.update_xaxes(title="attended to")
        figure.update_yaxes(title="attended from")
    where = "" if layer is None else f", layer {layer}"
    heading = f"{_title(dst)}{where}" + (f", {names[0]}" if is_alone else ": rows attend to columns")
    height = 160 + 24 * len(labels) if is_alone else 110 + _PANEL_HEIGHT * n_rows
    return figure.update_layout(template=_TEMPLATE, title=heading, height=min(max(height, 340), 1600))


def _title(dst: DerivedScalarType, pass_type: PassType = PassType.FORWARD) -> str:
    name = dst.value.replace("_", " ")
    return f"gradient with respect to {name}" if pass_type is PassType.BACKWARD else name


def _token_labels(store: DerivedScalarStore) -> list[str]:
    return [plotly_label(token) for token in store.tokens]


def _ticks(labels: list[str]) -> dict[str, object]:
    # Ticks are positions, so that two tokens with the same text stay separate.
    return {"tickmode": "array", "tickvals": list(range(len(labels))), "ticktext": labels}


def _numbers(tensor: Tensor) -> Matrix:
    """The values as float64, with NaN for masked ones (-inf), which plotly leaves empty."""
    numbers = tensor.detach().double().cpu().numpy().copy()
    numbers[np.isneginf(numbers)] = np.nan
    return np.asarray(numbers, dtype=np.float64)


def _pair_matrices(tensor: Tensor, dst: DerivedScalarType, n_tokens: int) -> list[Matrix]:
    """The matrix (attended from, attended to) of each component; NaN where a token does not attend."""
    numbers = _numbers(tensor)
    if dst.shape_spec_per_token_sequence[0] is Dimension.SEQUENCE_TOKEN_PAIRS:
        return [unflatten(numbers[:, number], n_tokens) for number in range(numbers.shape[-1])]
    attends = np.tril(np.ones((n_tokens, n_tokens), dtype=bool))
    return [np.where(attends, numbers[:, :, number], np.nan) for number in range(numbers.shape[-1])]


def _summed_by_token(tensor: Tensor, dst: DerivedScalarType, n_tokens: int) -> Matrix:
    if Dimension.SEQUENCE_TOKEN_PAIRS in dst.shape_spec_per_token_sequence:
        matrices = _pair_matrices(tensor, dst, n_tokens)
        return np.asarray(np.nansum(np.stack(matrices), axis=(0, 2)))
    numbers = _numbers(tensor)
    return np.asarray(np.nansum(numbers, axis=tuple(range(1, numbers.ndim))))


def _heatmap_trace(numbers: Matrix, limit: float, cell_name: str, show_scale: bool = True) -> go.Heatmap:
    return go.Heatmap(
        z=numbers,
        zmin=-limit,
        zmax=limit,
        colorscale=plotly_colour_scale(),
        showscale=show_scale,
        hoverongaps=False,
        hovertemplate=f"{cell_name}: %{{z:.4g}}<extra></extra>",
    )


def _heatmap(numbers: Matrix, columns: list[str], rows: list[str], row_name: str) -> go.Figure:
    finite = numbers[np.isfinite(numbers)]
    limit = ColourScale.of(finite.tolist()).limit or 1.0
    figure = go.Figure(_heatmap_trace(numbers, limit, f"{row_name}, %{{x}}"))
    figure.update_xaxes(**_ticks(columns))
    figure.update_yaxes(**_ticks(rows))
    return figure


def _laid_out(figure: go.Figure, title: str, x: str, y: str, n_rows: int) -> go.Figure:
    height = min(max(_MARGINS + _ROW_HEIGHT * n_rows, 300), 1600)
    return figure.update_layout(template=_TEMPLATE, title=title, xaxis_title=x, yaxis_title=y, height=height)
