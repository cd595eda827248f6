"""Loading autoencoders: by name, from one file or folder, or from one for each layer."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuron_explainer.errors import (
    AutoencoderFormatError,
    InvalidRequestError,
    MissingFileError,
    UnknownNameError,
    number_ranges,
    shown,
)
from neuron_explainer.models.autoencoder_context import AutoencoderConfig, AutoencoderContext
from neuron_explainer.models.autoencoders.formats import (
    autoencoder_format_of,
    find_autoencoder_format,
    format_names,
)
from neuron_explainer.models.autoencoders.named import NAMED_AUTOENCODERS, known_name, named_autoencoder_config
from neuron_explainer.models.autoencoders.origin import same_base_model
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.storage.locations import is_url, path_text, without_secrets
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layers, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

PathLike = str | os.PathLike[str]


def load_autoencoders(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | str | None = None,
    *,
    layers: LayersGiven = None,
    model: ModelContext | None = None,
    device: DeviceGiven | None = None,
    omit_dead_latents: bool = False,
    dtype: DtypeGiven | None = None,
    base_model_name: str | None = None,
) -> AutoencoderContext:
    """Autoencoders by name, path, address or folder. Each layer's is loaded when it is first used.

    Example:
        model = ne.load_model("gpt2-small")
        autoencoders = ne.load_autoencoders("ae-resid-delta-mlp-v4", model=model, layers=[5])
        autoencoders.get_autoencoder(5)

    Args:
        source: see `autoencoder_config`.
        dst: the derived scalar type they were trained on, if the source does not say it.
        layers: which layers; None means all that the source has.
        model: the model that they are for: they are checked against it and go to its device.
        device: where they go; None means the model's device, or `get_default_device()` without a model.
        omit_dead_latents: leave out latents that had long been inactive when training ended.
        dtype: the weights' floating-point dtype; None leaves it as it is in the files.
        base_model_name: the model they were trained on, if the source gives it another name.

    Raises:
        AutoencoderMismatchError: they do not belong to `model`.
        UnknownNameError, AutoencoderFormatError, InvalidRequestError, MissingFileError: see `autoencoder_config`.
    """
    if model is not None:
        checked_type("model", model, ModelContext)  # type: ignore[type-abstract]  # it only asks isinstance
        device = model.device if device is None else device
    config = autoencoder_config(source, dst, layers, base_model_name)
    context = AutoencoderContext(config, device, omit_dead_latents=omit_dead_latents, dtype=dtype)
    if model is not None:
        context.check_model(model)
    return context


def autoencoder_config(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | str | None = None,
    layers: LayersGiven = None,
    base_model_name: str | None = None,
) -> AutoencoderConfig:
    """Where autoencoders are; nothing is loaded.

    Args:
        source: one of
            - a name, in any case (`named_autoencoders` lists them);
            - a file or folder that says its place and layer (a SAELens folder), or several;
            - a folder of `{layer}.pt`;
            - a path or address with `{layer}` in it;
            - a mapping from layers to paths or addresses.
        dst: the derived scalar type they were trained on; names and SAELens folders say it themselves.
        layers: which layers; required for a path or address with `{layer}`. None means all that the source has.
        base_model_name: the model they were trained on; None means what the source says.

    Raises:
        UnknownNameError: `source` is neither a known name nor an existing path, or `dst` is unknown.
        MissingFileError: the path does not exist, or the folder contains no autoencoders.
        AutoencoderFormatError: a file or folder does not say its place or layer, or several are of different places or
            base models.
        InvalidRequestError: `dst` or `layers` is required, or contradicts the source; or the source is empty or of
            another type.
    """
    asked_dst = None if dst is None else derived_scalar_type_of(dst)
    config = _config(source, asked_dst, None if layers is None else sorted(checked_layers("layers", layers)))
    if base_model_name is None:
        return config
    return AutoencoderConfig(config.dst, config.autoencoder_path_by_layer_index, base_model_name, config.name)


def _config(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | None,
    layers: list[int] | None,
) -> AutoencoderConfig:
    if isinstance(source, Mapping | Sequence) and not source:
        raise InvalidRequestError(f"{source!r} names no autoencoders. Give at least one path.")
    if isinstance(source, Mapping):
        return AutoencoderConfig(_required(dst, source), _chosen(dict(source), layers, source))
    if isinstance(source, Sequence) and not isinstance(source, str):
        return _from_origins([path_text(each) for each in source], dst, layers)
    if not isinstance(source, str | os.PathLike):
        raise InvalidRequestError(
            f"{shown(source)} does not say where autoencoders are. Give a name, a path, an address, a list of paths, "
            "or a mapping from layers to paths."
        )
    text = path_text(source)
    if (name := known_name(text)) is not None:
        config = named_autoencoder_config(name)
        if dst not in (None, config.dst):
            raise InvalidRequestError(f"{text} is of {config.dst}, not of {dst}.")
        paths = _chosen(config.autoencoder_path_by_layer_index, layers, text)
        return AutoencoderConfig(config.dst, paths, config.base_model_name, config.name)
    if "{layer}" in text:
        if layers is None:
            raise InvalidRequestError(f"{without_secrets(text)} stands for any layer. Give `layers`.")
        return AutoencoderConfig(_required(dst, text), {layer: text.replace("{layer}", str(layer)) for layer in layers})
    if not is_url(text) and not Path(text).exists():
        if "/" not in text:
            raise UnknownNameError("autoencoder", text, NAMED_AUTOENCODERS, "A path or an address works too.")
        raise MissingFileError(text)
    if find_autoencoder_format(text) is not None:
        return _from_origins([text], dst, layers)
    numbered: dict[int, PathLike] = {int(file.stem): file for file in Path(text).glob("*.pt") if file.stem.isdecimal()}
    if not numbered:
        raise MissingFileError(
            f"{text}/{{layer}}.pt", f"file not found, and the folder is not in a known format: {format_names()}"
        )
    return AutoencoderConfig(_required(dst, text), _chosen(numbered, layers, text))


def _required(dst: DerivedScalarType | None, source: object) -> DerivedScalarType:
    if dst is None:
        raise InvalidRequestError(
            f"{source!s:.200} does not say what the autoencoders were trained on. Give dst, such as 'mlp_post_act'."
        )
    return dst


def _chosen(paths: Mapping[int, PathLike], layers: list[int] | None, source: object) -> dict[int, PathLike]:
    if layers is None:
        return dict(paths)
    missing = [layer for layer in layers if layer not in paths]
    if missing:
        raise InvalidRequestError(
            f"{source!s:.200} has no autoencoders for layers {missing}. Layers: {number_ranges(paths)}."
        )
    return {layer: paths[layer] for layer in layers}


def _from_origins(sources: list[str], dst: DerivedScalarType | None, layers: list[int] | None) -> AutoencoderConfig:
    """The config of files or folders that say themselves which place and layer they are of."""
    paths: dict[int, PathLike] = {}
    source_by_dst: dict[DerivedScalarType, str] = {}
    base_model_name: str | None = None
    for source in sources:
        name = without_secrets(source)
        origin = autoencoder_format_of(source).describe(source)
        if origin.dst is None or origin.layer_index is None:
            raise AutoencoderFormatError(
                f"{name} does not say its place and layer. Give load_autoencoders a mapping from the layer to it, and "
                "dst."
            )
        if origin.layer_index in paths:
            raise AutoencoderFormatError(
                f"{name} and {paths[origin.layer_index]} are both of layer {origin.layer_index}."
            )
        if origin.base_model_name and base_model_name and not same_base_model(origin.base_model_name, base_model_name):
            raise AutoencoderFormatError(
                f"{name} is of the model {origin.base_model_name}, but {sources[0]} is of {base_model_name}."
            )
        paths[origin.layer_index] = source
        source_by_dst[origin.dst] = name
        base_model_name = base_model_name or origin.base_model_name
    if len(source_by_dst) != 1 or dst not in (None, *source_by_dst):
        found = ", ".join(f"{name} is of {found_dst}" for found_dst, name in source_by_dst.items())
        raise AutoencoderFormatError(
            f"A context has autoencoders of one place{'' if dst is None else f', here {dst}'}. {found or 'None given'}."
        )
    return AutoencoderConfig(next(iter(source_by_dst)), _chosen(paths, layers, sources), base_model_name)
