"""The parts that add up to the metric: one row for the embedding, for each layer's attention and MLP, for biases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neuron_explainer.attribution.computing.effects import Effects
from neuron_explainer.attribution.inquiry import Inquiry
from neuron_explainer.models.layers.routed import values_of
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas

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


def residue_of(effects: Effects, is_linear: bool) -> float:
    """What the parts of one pass leave over of its number."""
    numbers = [float(effect.double().sum()) for _, _, effect in parts_of(effects)]
    return effects.value - sum(numbers) - sum(row["direct_effect"] for row in _without_rows(effects, is_linear))


def part_table(inquiry: Inquiry, effects: Sequence[Effects], coefficients: Sequence[float]) -> pandas.DataFrame:
    """The parts of all passes as a DataFrame; those of answers of several tokens row by row."""
    has_several = inquiry.is_by_answer
    rows: list[dict[str, Any]] = []
    for own, coefficient, asked in zip(effects, coefficients, inquiry.passes, strict=True):
        for row in _by_row(own, inquiry.is_linear) if has_several else _summed(own, inquiry.is_linear):
            rows.append({**row, "answer": asked.answer, "direct_effect": row["direct_effect"] * coefficient})
    return frame_of_parts(rows, has_several)


def frame_of_parts(rows: Sequence[dict[str, Any]], has_several: bool) -> pandas.DataFrame:
    """The rows as a DataFrame; those of several passes say of which."""
    import pandas

    columns = ["part", "layer", "direct_effect"]
    whole = ["layer"]
    if has_several:
        columns, whole = ["answer", "predicting_position", *columns], ["predicting_position", "layer"]
    return pandas.DataFrame(list(rows), columns=columns).astype(dict.fromkeys(whole, "Int64"))


def _summed(effects: Effects, is_linear: bool) -> list[dict[str, Any]]:
    """The parts of one pass, summed over its rows."""
    rows: list[dict[str, Any]] = [
        {"part": part, "layer": layer, "direct_effect": float(effect.double().sum())}
        for part, layer, effect in parts_of(effects)
    ]
    return rows + _without_rows(effects, is_linear)


def _by_row(effects: Effects, is_linear: bool) -> list[dict[str, Any]]:
    """The parts of one pass at each of its rows; biases after the last write stand once."""
    rows: list[dict[str, Any]] = [
        {"part": part, "layer": layer, "predicting_position": position, "direct_effect": number}
        for part, layer, effect in parts_of(effects)
        for position, number in zip(effects.rows, effect.double().tolist(), strict=True)
    ]
    return rows + _without_rows(effects, is_linear)


def _without_rows(effects: Effects, is_linear: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"part": name, "layer": None, "direct_effect": constant} for name, constant in effects.constants.items()
    ]
    if not is_linear:
        left = effects.value - effects.linear_value
        rows.append({"part": NONLINEARITY, "layer": None, "direct_effect": left})
    return rows
