"""Where autoencoders are, from a name, a path, an address, a folder or several; nothing is loaded."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neuron_explainer.errors import InvalidRequestError, MissingFileError, shown
from neuron_explainer.models.autoencoder_context import AutoencoderConfig
from neuron_explainer.models.autoencoders.common_origin import chosen_layers, common_origin, required_dst
from neuron_explainer.models.autoencoders.formats import (
    autoencoder_format_of,
    find_autoencoder_format,
    format_names,
)
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.named import NAMED_AUTOENCODERS, known_name, named_autoencoder_config
from neuron_explainer.models.autoencoders.published.locating import (
    is_release,
    is_release_or_repository,
    names_of_layers,
    unknown_release,
)
from neuron_explainer.storage.locations import is_url, path_text, without_secrets
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layers
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

PathLike = str | os.PathLike[str]


def autoencoder_config(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | str | None = None,
    layers: LayersGiven = None,
    base_model_name: str | None = None,
    input_scaling: InputScaling | str | None = None,
    sae_id: str | Sequence[str] | None = None,
) -> AutoencoderConfig:
    """Where autoencoders are; nothing is loaded, except what says so: of autoencoders on the hub, their `cfg.json`.

    Args:
        source: one of
            - a name, in any case (`named_autoencoders` lists them);
            - a file or folder that says its place and layer (a SAELens folder), or several;
            - a release that SAELens knows, or a repository on the hub, "owner/name" (see `sae_id`);
            - a folder of `{layer}.pt`;
            - a path or address with `{layer}` in it;
            - a mapping from layers to paths or addresses.
        dst: the derived scalar type they were trained on; names and SAELens folders say it themselves.
        layers: which layers; required for a path or address with `{layer}`. None means all that the source has.
        base_model_name: the model they were trained on; None means what the source says.
        input_scaling: how each token's input was scaled in training; None means what the source says.
        sae_id: which autoencoders of a release; of a repository on the hub, their folders: one, several, or one with
            `{layer}` in it, such as "layer_{layer}/width_16k/canonical". None: all of a release, if it has one for
            each layer.

    Raises:
        UnknownNameError: `source` is neither a known name nor an existing path, or `dst` or `input_scaling` is unknown.
        MissingFileError: the path does not exist, or the folder contains no autoencoders.
        AutoencoderFormatError: a file or folder does not say its place or layer, or several are of different places or
            base models.
        InvalidRequestError: `dst` or `layers` is required, or contradicts the source; or the source is empty or of
            another type.
    """
    asked_dst = None if dst is None else derived_scalar_type_of(dst)
    asked_layers = None if layers is None else sorted(checked_layers("layers", layers))
    if isinstance(source, str) and _is_on_the_hub(source, sae_id):
        config = _from_origins(names_of_layers(source, sae_id, asked_layers), asked_dst, asked_layers)
        config = replace(config, name=source)
    elif sae_id is not None:
        if isinstance(source, str) and "/" not in source and not os.path.exists(source):
            raise unknown_release(source, NAMED_AUTOENCODERS)
        raise InvalidRequestError(f"sae_id is {shown(sae_id)}, but the source is not a release or a repository's name.")
    else:
        config = _config(source, asked_dst, asked_layers)
    return AutoencoderConfig(
        config.dst,
        config.autoencoder_path_by_layer_index,
        config.base_model_name if base_model_name is None else base_model_name,
        config.name,
        config.input_scaling if input_scaling is None else input_scaling,
    )


def _is_on_the_hub(source: str, sae_id: object) -> bool:
    """Whether a text is the name of a release; or, if autoencoders of it are chosen, of a repository."""
    if known_name(source) is not None:
        return False
    return is_release(source) if sae_id is None else is_release_or_repository(source)


def _config(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | None,
    layers: list[int] | None,
) -> AutoencoderConfig:
    if isinstance(source, Mapping | Sequence) and not source:
        raise InvalidRequestError(f"{source!r} names no autoencoders. Give at least one path.")
    if isinstance(source, Mapping):
        if dst is None:
            return _from_origins([path_text(each) for each in source.values()], None, layers, source)
        return AutoencoderConfig(dst, chosen_layers(dict(source), layers, source))
    if isinstance(source, Sequence) and not isinstance(source, str):
        return _from_origins([path_text(each) for each in source], dst, layers)
    text = path_text(source)
    if (name := known_name(text)) is not None:
        config = named_autoencoder_config(name)
        if dst not in (None, config.dst):
            raise InvalidRequestError(f"{text} is of {config.dst}, not of {dst}.")
        paths = chosen_layers(config.autoencoder_path_by_layer_index, layers, text)
        return AutoencoderConfig(config.dst, paths, config.base_model_name, config.name, config.input_scaling)
    if "{layer}" in text:
        if layers is None:
            raise InvalidRequestError(f"{without_secrets(text)} stands for any layer. Give `layers`.")
        return AutoencoderConfig(
            required_dst(dst, text), {layer: text.replace("{layer}", str(layer)) for layer in layers}
        )
    if not is_url(text) and not os.path.exists(text):
        if "/" not in text:
            raise unknown_release(text, NAMED_AUTOENCODERS)
        raise MissingFileError(text)
    if find_autoencoder_format(text) is not None:
        return _from_origins([text], dst, layers)
    numbered: dict[int, PathLike] = {int(file.stem): file for file in Path(text).glob("*.pt") if file.stem.isdecimal()}
    if not numbered:
        raise MissingFileError(
            f"{text}/{{layer}}.pt", f"file not found, and the folder is not in a known format: {format_names()}"
        )
    return AutoencoderConfig(required_dst(dst, text), chosen_layers(numbered, layers, text))


def _from_origins(
    sources: list[str],
    dst: DerivedScalarType | None,
    layers: list[int] | None,
    by_layer: Mapping[int, PathLike] | None = None,
) -> AutoencoderConfig:
    """The config of files or folders that say themselves which place and layer they are of.

    Args:
        sources: the files or folders.
        dst: the place that the user says.
        layers: the layers to take.
        by_layer: the sources by the layers that the user says; None if each says its own.
    """
    origins = [(without_secrets(source), autoencoder_format_of(source).describe(source)) for source in sources]
    if by_layer is not None and all(origin.dst is None for _, origin in origins):
        required_dst(dst, by_layer)
    found = common_origin(origins, dst, None if by_layer is None else list(checked_layers("source", list(by_layer))))
    paths: dict[int, PathLike] = dict(zip(found.layers, sources, strict=True))
    return AutoencoderConfig(
        found.dst, chosen_layers(paths, layers, ", ".join(name for name, _ in origins)), found.base_model_name
    )
