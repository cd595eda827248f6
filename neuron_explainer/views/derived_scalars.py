"""Derived scalars as plotly figures and as HTML tables."""

from collections.abc import Iterable
from typing import SupportsIndex

import plotly.graph_objects as go

import neuron_explainer.views.scalar_heatmaps as heatmaps
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.errors import InvalidRequestError, NotDerivedError, number_ranges, shown
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import MUTED, card, html_table
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.running_text import plain_tokens
from neuron_explainer.views.token_text import escaped, token_html
from neuron_explainer.vocabulary.checks import checked_flag, checked_number, checked_type, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.named_members import member_of
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

__all__ = ["plot", "ranked_table", "store_html"]

_MOST_COMPONENTS = 30
_PAIR_AXES = (Dimension.SEQUENCE_TOKENS, Dimension.ATTENDED_TO_SEQUENCE_TOKENS)


def plot(
    store: DerivedScalarStore,
    dst: DerivedScalarType | str,
    layer: SupportsIndex | None = None,
    *,
    component: SupportsIndex | None = None,
    k: SupportsIndex = _MOST_COMPONENTS,
    pass_type: PassType | str = PassType.FORWARD,
    without_first_token: bool = False,
) -> go.Figure:
    """A heatmap of one derived scalar. Its axes depend on the scalar, `layer` and `component`.

    - Without a layer: tokens × layers. Each cell is the sum over the layer's components (heads, neurons, latents) and
      over the tokens attended to. Attention probabilities and logits, whose sums mean little, are a grid of the
      patterns of all heads, a row for each layer.
    - One layer, one value per token and component: tokens × the k components with the largest magnitudes.
    - One layer of attention: the pattern of each head (attended from × attended to); with a component, of that head
      alone, larger.

    Values above zero are orange, values below zero blue. The deepest colour is the largest magnitude; of attention
    probabilities it is 1. Masked pairs are empty. Where plotly is missing, a notebook shows static HTML instead.

    Args:
        store: the results of `derive`.
        dst: the derived scalar, or its name.
        layer: the layer, from 0; None: all layers.
        component: the head, neuron or latent, from 0; None: all, or the k largest. It needs a layer.
        k: the most components to show.
        pass_type: BACKWARD for gradients; or its name.
        without_first_token: leave the first token out. Most heads attend to it most of the time, and the residual
            stream is largest there, so that its colours drown the others.

    Raises:
        NotDerivedError: `dst`, or `layer`, was not derived.
        InvalidRequestError: `component` is given without a layer or is out of range; `k` is below 1; the patterns of
            all layers are too many to show; the only token is to be left out; or the scalar has a vector per component,
            which a heatmap cannot show (plot its norm or its projection instead).
        UnknownNameError: `dst` or `pass_type` is unknown.

    An example: `plot(ne.derive("Hello world", ["mlp_post_act"], config), "mlp_post_act", layer=2)`.
    """
    checked_type("store", store, DerivedScalarStore)
    dst, pass_type = derived_scalar_type_of(dst), member_of(PassType, pass_type, "pass type")
    by_layer = store.activations(dst, pass_type)
    dimensions = dst.shape_spec_per_token_sequence
    is_by_pair = dimensions[:2] == _PAIR_AXES or dimensions[0] is Dimension.SEQUENCE_TOKEN_PAIRS
    n_component_axes = len(dimensions) - (2 if dimensions[:2] == _PAIR_AXES else 1)
    if n_component_axes > 1:
        raise InvalidRequestError(
            f"{dst.value} has {n_component_axes} axes besides its tokens ({', '.join(dimensions)}), which a heatmap "
            "cannot show. Plot a scalar with one, such as its norm or one of its projections."
        )
    k = checked_number("k", k)
    without_first_token = checked_flag("without_first_token", without_first_token)
    if without_first_token and len(store.tokens) < 2:
        raise InvalidRequestError("The prompt has one token alone, so it cannot be left out.")
    tokens = heatmaps.ShownTokens(store.tokens, int(without_first_token))
    if layer is None and None not in by_layer:
        if component is not None:
            raise InvalidRequestError(f"Component {shown(component)} needs a layer: pass `layer`.")
        if dst in heatmaps.PATTERNS:
            return heatmaps.patterns_by_layer(tokens, dst, by_layer, pass_type)
        return heatmaps.tokens_by_layers(tokens, dst, by_layer, pass_type)
    number = whole_number(layer)
    if number not in by_layer or (number is None and layer is not None):
        raise NotDerivedError.of_layer(dst.value, layer, by_layer)
    tensor = by_layer[number]
    n_components = tensor.shape[-1]
    chosen = whole_number(component)
    if component is not None and (chosen is None or not 0 <= chosen < n_components):
        raise InvalidRequestError(f"{dst.value} has no component {shown(component)}; components: 0–{n_components - 1}.")
    if is_by_pair:
        return heatmaps.patterns(tokens, dst, number, tensor, chosen, k, pass_type)
    return heatmaps.tokens_by_components(tokens, dst, number, tensor, chosen, k, pass_type)


def ranked_table(
    store: DerivedScalarStore,
    k: int = 10,
    largest: bool = True,
    dsts: DerivedScalarType | Iterable[DerivedScalarType] | None = None,
    layers: int | Iterable[int | None] | None = None,
    pass_type: PassType = PassType.FORWARD,
) -> str:
    """The k largest (or smallest) values as an HTML table: component, token or tokens, value.

    The arguments and errors are those of `DerivedScalarStore.topk`.
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
    names = [NodeName.of(index).resolved(store.tokens) for index in indices]
    has_pairs = any(name.attended_to_index is not None for name in names)
    heads = ["component", "from token" if has_pairs else "token", *(["to token"] if has_pairs else []), "value"]
    if len({index.dst for index in indices}) > 1:
        heads.append("derived scalar")
    rows = []
    for value, index, name in zip(numbers, indices, names, strict=True):
        cells = [escaped(name.component_name), _token(store, name.token_index)]
        if has_pairs:
            cells.append(_token(store, name.attended_to_index))
        cells.append(f'<span style="padding:0 4px;{scale.style(value)}">{format_value(value)}</span>')
        if "derived scalar" in heads:
            cells.append(f'<span style="color:{MUTED}">{escaped(index.dst.value)}</span>')
        rows.append(cells)
    return html_table(heads, rows)


def _token(store: DerivedScalarStore, position: int | None) -> str:
    if position is None:
        return ""
    return f'<bdi>{token_html(store.tokens[position])}</bdi> <span style="color:{MUTED}">({position})</span>'


def store_html(store: DerivedScalarStore) -> str:
    """A store as a card: the prompt, the loss, and each derived scalar with its axes, layers and largest value."""
    prompt = plain_tokens(store.tokens)
    facts = [f"{len(store.tokens)} tokens"]
    if store.n_beginning:
        facts.append(f"begins with <bdi>{token_html(store.beginning)}</bdi>, put before the text")
    if store.model_name is not None:
        facts.insert(0, escaped(store.model_name))
    if store.loss is not None:
        facts.append(f"loss {format_value(store.loss)}")
    if store.traced_activation is not None:
        facts.append(f"traced activation {format_value(store.traced_activation)}")
    rows = []
    for dst, pass_type, layers in store.contents():
        axes = " × ".join(dimension.label for dimension in dst.shape_spec_per_token_sequence)
        values, indices = store.topk(1, dsts=dst, pass_type=pass_type)
        largest = (
            f'{format_value(float(values[0]))} <span style="color:{MUTED}">{escaped(store.name(indices[0]))}</span>'
            if indices
            else ""  # all values are masked
        )
        gradient = " (gradient)" if pass_type is PassType.BACKWARD else ""
        cells = [
            f"{escaped(dst.value)}{gradient}",
            axes,
            number_ranges(layer for layer in layers if layer is not None),
            largest,
        ]
        rows.append(cells)
    return card(
        f'<div style="color:{MUTED}">{" · ".join(facts)}</div><div style="margin:6px 0">{prompt}</div>'
        + html_table(("derived scalar", "axes", "layers", "largest value"), rows),
        "ne-derived-scalars",
    )
