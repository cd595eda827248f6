"""Derived scalars as plotly figures, and the largest of them as an HTML table."""

from collections.abc import Iterable

import plotly.graph_objects as go

from neuron_explainer.activations.derived_scalars.store.component_names import component_name, tokens_and_components
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.errors import InvalidRequestError, NotDerivedError
from neuron_explainer.views import scalar_heatmaps as heatmaps
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import LINE, MUTED, card
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped, token_html
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

__all__ = ["plot", "ranked_table", "store_html"]

_MOST_COMPONENTS = 30
_PAIR_AXES = (Dimension.SEQUENCE_TOKENS, Dimension.ATTENDED_TO_SEQUENCE_TOKENS)


def plot(
    store: DerivedScalarStore,
    dst: DerivedScalarType,
    layer: int | None = None,
    *,
    component: int | None = None,
    k: int = _MOST_COMPONENTS,
    pass_type: PassType = PassType.FORWARD,
) -> go.Figure:
    """A figure of one derived scalar, by how many axes it has and what is given of `layer` and `component`.

    - Without a layer: tokens against layers, each cell the sum over the layer's components (heads, neurons, latents)
      and over the tokens attended to.
    - One layer, by token and component: tokens against the k components with the largest magnitudes.
    - One layer of attention, by pair: each head's pattern; with a component (the head), that one alone, larger.

    Colours are orange above zero and blue below, up to the largest magnitude; masked pairs are left empty.

    Args:
        store: what was derived.
        dst: which derived scalar.
        layer: which layer; all of them if None.
        component: which head, neuron or latent; all, or the k largest, if None. It needs a layer.
        k: how many components are shown at most.
        pass_type: BACKWARD for gradients.

    Raises:
        NotDerivedError: `dst`, or `layer`, was not derived.
        InvalidRequestError: a component without a layer or out of range; k below 1; or the scalar has a vector for each
            component, which is no picture (its norm, or its projection, is another derived scalar).
    """
    by_layer = store.activations(dst, pass_type)
    dimensions = dst.shape_spec_per_token_sequence
    is_by_pair = dimensions[:2] == _PAIR_AXES or dimensions[0] is Dimension.SEQUENCE_TOKEN_PAIRS
    n_component_axes = len(dimensions) - (2 if dimensions[:2] == _PAIR_AXES else 1)
    if n_component_axes > 1:
        raise InvalidRequestError(
            f"{dst.value} has {n_component_axes} axes beside its tokens ({', '.join(dimensions)}); plot a scalar with "
            "one, such as its norm, or one of its projections."
        )
    if k < 1:
        raise InvalidRequestError(f"plot shows k ≥ 1 components; k is {k}.")
    has_layers = None not in by_layer
    if layer is None and has_layers:
        if component is not None:
            raise InvalidRequestError(f"Component {component} of which layer? Give the layer.")
        return heatmaps.tokens_by_layers(store, dst, pass_type)
    if layer not in by_layer:
        raise NotDerivedError(f"layer of {dst.value}", str(layer), [str(derived) for derived in by_layer])
    tensor = by_layer[layer]
    n_components = tensor.shape[-1]
    if component is not None and not 0 <= component < n_components:
        raise InvalidRequestError(f"{dst.value} has the components 0 to {n_components - 1}, not {component}.")
    if is_by_pair:
        return heatmaps.patterns(store, dst, layer, tensor, component, k)
    return heatmaps.tokens_by_components(store, dst, layer, tensor, component, k)


def ranked_table(
    store: DerivedScalarStore,
    k: int = 10,
    largest: bool = True,
    dsts: DerivedScalarType | Iterable[DerivedScalarType] | None = None,
    layers: int | Iterable[int | None] | None = None,
    pass_type: PassType = PassType.FORWARD,
) -> str:
    """The k largest numbers (or smallest) as an HTML table: component, token or tokens, value.

    The arguments are those of `DerivedScalarStore.topk`, and so are the errors.
    """
    return card(_ranked_rows(store, k, largest, dsts, layers, pass_type), "ne-ranked")


def _ranked_rows(
    store: DerivedScalarStore,
    k: int,
    largest: bool,
    dsts: DerivedScalarType | Iterable[DerivedScalarType] | None,
    layers: int | Iterable[int | None] | None,
    pass_type: PassType,
) -> str:
    values, indices = store.topk(k, largest, dsts, layers, pass_type)
    numbers = values.tolist()
    scale = ColourScale.of(numbers)
    has_pairs = any(tokens_and_components(index).attended_to is not None for index in indices)
    heads = ["component", "from token" if has_pairs else "token", *(["to token"] if has_pairs else []), "value"]
    if len({index.dst for index in indices}) > 1:
        heads.append("derived scalar")
    cell = f'style="padding:2px 14px 2px 0;border-top:1px solid {LINE};text-align:left"'
    rows = []
    for value, index in zip(numbers, indices, strict=True):
        position = tokens_and_components(index)
        cells = [escaped(component_name(index)), _token(store, position.token)]
        if has_pairs:
            cells.append(_token(store, position.attended_to))
        cells.append(f'<span style="padding:0 4px;{scale.style(value)}">{format_value(value)}</span>')
        if "derived scalar" in heads:
            cells.append(f'<span style="color:{MUTED}">{escaped(index.dst.value)}</span>')
        rows.append("<tr>" + "".join(f"<td {cell}>{content}</td>" for content in cells) + "</tr>")
    head = "".join(f'<th style="padding:2px 14px 2px 0;text-align:left;color:{MUTED}">{name}</th>' for name in heads)
    return f'<table style="border-collapse:collapse"><tr>{head}</tr>{"".join(rows)}</table>'


def _token(store: DerivedScalarStore, position: int | None) -> str:
    if position is None:
        return ""
    return f'<bdi>{token_html(store.tokens[position])}</bdi> <span style="color:{MUTED}">({position})</span>'


def store_html(store: DerivedScalarStore) -> str:
    """A store as a card: the prompt, the loss, and what was derived, with axes, layers and where each is largest."""
    prompt = "".join(f"<bdi>{token_html(token)}</bdi>" for token in store.tokens)
    facts = [f"{len(store.tokens)} tokens"]
    if store.model_name is not None:
        facts.insert(0, escaped(store.model_name))
    if store.loss is not None:
        facts.append(f"loss {format_value(store.loss)}")
    if store.traced_activation is not None:
        facts.append(f"traced activation {format_value(store.traced_activation)}")
    cell = f'style="padding:2px 14px 2px 0;border-top:1px solid {LINE};text-align:left;vertical-align:top"'
    rows = []
    for dst, pass_type, layers in store.contents():
        axes = " × ".join(dimension.value.replace("_", " ") for dimension in dst.shape_spec_per_token_sequence)
        values, indices = store.topk(1, dsts=dst, pass_type=pass_type)
        largest = (
            f'{format_value(float(values[0]))} <span style="color:{MUTED}">{escaped(store.name(indices[0]))}</span>'
            if indices
            else ""  # everything is masked
        )
        gradient = " (gradient)" if pass_type is PassType.BACKWARD else ""
        cells = [
            f"{escaped(dst.value)}{gradient}",
            axes,
            "none" if layers == [None] else _ranges([layer for layer in layers if layer is not None]),
            largest,
        ]
        rows.append("<tr>" + "".join(f"<td {cell}>{content}</td>" for content in cells) + "</tr>")
    heads = ("derived scalar", "axes", "layers", "largest")
    head = "".join(f'<th style="padding:2px 14px 2px 0;text-align:left;color:{MUTED}">{name}</th>' for name in heads)
    return card(
        f'<div style="color:{MUTED}">{" · ".join(facts)}</div><div style="margin:6px 0">{prompt}</div>'
        f'<table style="border-collapse:collapse"><tr>{head}</tr>{"".join(rows)}</table>',
        "ne-derived-scalars",
    )


def _ranges(layers: list[int]) -> str:
    """Layers as text: 0–5, 7."""
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)
