"""What several autoencoders have in common: they must be of one place, of different layers, and of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError, number_ranges
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin, same_base_model
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

T = TypeVar("T")


@dataclass(frozen=True)
class CommonOrigin:
    """The place of several autoencoders, the layer of each, and their model, if any of them says it."""

    dst: DerivedScalarType
    layers: list[int]
    base_model_name: str | None


def common_origin(
    origins: Sequence[tuple[str, AutoencoderOrigin]],
    dst: DerivedScalarType | None,
    layers: Sequence[int | None] | None = None,
) -> CommonOrigin:
    """What several autoencoders say about themselves, together.

    Args:
        origins: the name of each, for errors, and what it says.
        dst: the place that the user says.
        layers: the layers that the user says; None where the autoencoder itself is to say it.

    Raises:
        AutoencoderFormatError: one does not say its place or layer, or two are of different places, of different
            models, or of the same layer.
    """
    by_layer: dict[int, str] = {}
    name_by_dst: dict[DerivedScalarType, str] = {}
    first: tuple[str, str] | None = None
    for (name, origin), given in zip(origins, layers or [None] * len(origins), strict=True):
        layer = origin.layer_index if given is None else given
        found_dst = dst if origin.dst is None else origin.dst
        if layer is None or found_dst is None:
            raise AutoencoderFormatError(
                f"{name} does not say its place and layer. Give load_autoencoders a mapping from the layer to it, and "
                "dst."
            )
        if layer in by_layer:
            raise AutoencoderFormatError(f"{name} and {by_layer[layer]} are both of layer {layer}.")
        by_layer[layer] = name
        name_by_dst[found_dst] = name
        base = origin.base_model_name
        if base and first is not None and not same_base_model(base, first[1]):
            raise AutoencoderFormatError(f"{name} is of the model {base}, but {first[0]} is of {first[1]}.")
        first = first or ((name, base) if base else None)
    if len(name_by_dst) != 1 or dst not in (None, *name_by_dst):
        found = ", ".join(f"{name} is of {found_dst}" for found_dst, name in name_by_dst.items())
        raise AutoencoderFormatError(
            f"A context has autoencoders of one place{'' if dst is None else f', here {dst}'}. {found or 'None given'}."
        )
    return CommonOrigin(next(iter(name_by_dst)), list(by_layer), None if first is None else first[1])


def required_dst(dst: DerivedScalarType | None, source: object) -> DerivedScalarType:
    """`dst`, which must be given if the source does not say it.

    Raises:
        InvalidRequestError: it is None.
    """
    if dst is None:
        raise InvalidRequestError(
            f"{source!s:.200} does not say what the autoencoders were trained on. Give dst, such as 'mlp_post_act'."
        )
    return dst


def chosen_layers(paths: Mapping[int, T], layers: list[int] | None, source: object) -> dict[int, T]:
    """The paths (or autoencoders) of these layers; of all, for None.

    Raises:
        InvalidRequestError: a layer has none.
    """
    if layers is None:
        return dict(paths)
    missing = [layer for layer in layers if layer not in paths]
    if missing:
        raise InvalidRequestError(
            f"{source!s:.200} has no autoencoders for layers {missing}. Layers: {number_ranges(paths)}."
        )
    return {layer: paths[layer] for layer in layers}
