"""The parts that add up to the metric: one row for the embedding, for each layer's attention and MLP, for biases."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.models.layers.routed import values_of
from neuron_explainer.vocabulary.nodes import NodeType

NONLINEARITY = "nonlinearity"
_KIND_OF_LATENT = {
    NodeType.AUTOENCODER_LATENT: "",
    NodeType.MLP_AUTOENCODER_LATENT: "MLP ",
    NodeType.ATTENTION_AUTOENCODER_LATENT: "attention ",
}


def parts_of(effects: Effects) -> Iterator[tuple[str, int | None, Tensor]]:
    """Each part with its layer, and its direct effect at each row, (rows). Parts that do not exist are left out."""
    if effects.embedding is not None:
        yield "embedding", None, effects.embedding.tokens
        if effects.embedding.positions is not None:
            yield "positions", None, effects.embedding.positions
    layers = {*effects.attention, *effects.mlp, *(layer for _, layer in effects.latents)}
    for layer in sorted(layers):
        if (attention := effects.attention.get(layer)) is not None:
            as_set = attention.as_set.sum(-1) + attention.layer_as_set
            yield "attention", layer, attention.by_pair.sum((-2, -1)) + as_set
            yield from _if_any("attention bias", layer, attention.bias)
        yield from _of_autoencoders(effects, layer)
        if (mlp := effects.mlp.get(layer)) is not None:
            yield "MLP", layer, values_of(mlp.neurons).flatten(1).sum(-1) + mlp.layer_as_set
            yield from _if_any("MLP bias", layer, mlp.bias)


def _of_autoencoders(effects: Effects, layer: int) -> Iterator[tuple[str, int | None, Tensor]]:
    for (kind, own_layer), parts in effects.latents.items():
        if own_layer == layer:
            prefix = _KIND_OF_LATENT[kind]
            yield f"{prefix}latents", layer, parts.latents.sum(-1)
            yield from _if_any(f"{prefix}decoder bias", layer, parts.decoder_bias)
            yield from _if_any(f"{prefix}skip connection", layer, parts.skip)
            yield f"{prefix}autoencoder error", layer, parts.error
            yield from _if_any(f"{prefix}output bias", layer, parts.output_bias)


def _if_any(part: str, layer: int, effect: Tensor) -> Iterator[tuple[str, int | None, Tensor]]:
    if bool(effect.any()):
        yield part, layer, effect


def summed_parts(effects: Effects, *, is_linear: bool) -> list[dict[str, Any]]:
    """The parts of one pass, summed over its rows, as rows of a table."""
    rows: list[dict[str, Any]] = [
        {"part": part, "layer": layer, "direct_effect": float(effect.double().sum())}
        for part, layer, effect in parts_of(effects)
    ]
    return rows + _without_rows(effects, is_linear)


def parts_by_row(effects: Effects, *, is_linear: bool) -> list[dict[str, Any]]:
    """The parts of one pass at each of its rows; biases after the last write stand once."""
    rows: list[dict[str, Any]] = [
        {"part": part, "layer": layer, "predicting_position": position, "direct_effect": float(number)}
        for part, layer, effect in parts_of(effects)
        for position, number in zip(effects.rows, effect.double().tolist(), strict=True)
    ]
    return rows + _without_rows(effects, is_linear)


def _without_rows(effects: Effects, is_linear: bool) -> list[dict[str, Any]]:
    rows = [{"part": name, "layer": None, "direct_effect": constant} for name, constant in effects.constants.items()]
    if not is_linear:
        left = effects.value - effects.linear_value
        rows.append({"part": NONLINEARITY, "layer": None, "direct_effect": left})
    return rows


def table_of_parts(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Any:
    """Rows as a DataFrame; layers and positions are whole numbers or NA."""
    import pandas

    whole = [column for column in ("layer", "predicting_position") if column in columns]
    return pandas.DataFrame(list(rows), columns=list(columns)).astype(dict.fromkeys(whole, "Int64"))
