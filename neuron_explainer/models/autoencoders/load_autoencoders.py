"""Autoencoders by what people have: a name, files by layer, or SAELens folders."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from neuron_explainer.errors import AutoencoderFormatError, InvalidRequestError, MissingFileError, UnknownNameError
from neuron_explainer.models.autoencoder_context import AutoencoderConfig, AutoencoderContext
from neuron_explainer.models.autoencoders.places import same_base_model
from neuron_explainer.models.autoencoders.saelens import is_saelens_folder
from neuron_explainer.models.autoencoders.saelens_config import read_saelens_config
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

_ROOT = "https://openaipublic.blob.core.windows.net/sparse-autoencoder/gpt2-small"
_GPT2_SMALL_LAYERS = range(12)
_NAMED: dict[str, tuple[DerivedScalarType, str]] = {
    "ae-mlp-post-act-v1": (DerivedScalarType.MLP_POST_ACT, "mlp_post_act"),
    "ae-mlp-post-act-v4": (DerivedScalarType.MLP_POST_ACT, "mlp_post_act_v4"),
    "ae-resid-delta-mlp-v1": (DerivedScalarType.RESID_DELTA_MLP, "resid_delta_mlp"),
    "ae-resid-delta-mlp-v4": (DerivedScalarType.RESID_DELTA_MLP, "resid_delta_mlp_v4"),
    "ae-resid-delta-attn-v4": (DerivedScalarType.RESID_DELTA_ATTN, "resid_delta_attn_v4"),
    **{
        f"ae-{place.replace('_', '-')}-v5-{size}": (DerivedScalarType[place.upper()], f"{place}_v5_{size}")
        for place in ("resid_delta_attn", "resid_delta_mlp", "resid_post_attn", "resid_post_mlp")
        for size in ("32k", "128k")
    },
}
"""OpenAI's autoencoders of GPT-2 small: v1 and v4 are ReLU, v5 (2024) are TopK. Each name's place and folder."""

PathLike = str | os.PathLike[str]


def named_autoencoders() -> list[str]:
    """The names that `load_autoencoders` knows."""
    return sorted(_NAMED)


def autoencoder_config(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | None = None,
    layers: Iterable[int] | None = None,
    base_model_name: str | None = None,
) -> AutoencoderConfig:
    """Where autoencoders are, from what people have of them; nothing is loaded.

    Args:
        source: a name (`named_autoencoders` lists them); a SAELens folder, or several; a folder of `{layer}.pt`; a path
            or URL with `{layer}` in it; or a path or URL for each layer.
        dst: the place they were trained on; SAELens' folders and the names say it themselves.
        layers: the layers; needed for a path or URL with `{layer}`, else all that there are.
        base_model_name: the model they were trained on; what the source says if None.

    Raises:
        UnknownNameError: `source` is no name, and no path that is there.
        AutoencoderFormatError: a SAELens folder is none, or several are of different places or base models.
        InvalidRequestError: `dst` or `layers` is needed and not given, or contradicts the source.
    """
    wanted = None if layers is None else sorted(layers)
    config = _config(source, dst, wanted)
    return config if base_model_name is None else replace(config, base_model_name=base_model_name)


def _config(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | None,
    wanted: list[int] | None,
) -> AutoencoderConfig:
    if isinstance(source, Mapping):
        return AutoencoderConfig(_needed(dst, source), _of_layers(dict(source), wanted, source))
    if isinstance(source, Sequence) and not isinstance(source, str):
        return _from_saelens([os.fspath(folder) for folder in source], dst, wanted)
    text = os.fspath(source)
    if text in _NAMED:
        named_dst, folder = _NAMED[text]
        if dst is not None and dst is not named_dst:
            raise InvalidRequestError(f"{text} is of {named_dst.value}, not of {dst.value}.")
        paths = {layer: f"{_ROOT}/{folder}/autoencoders/{layer}.pt" for layer in _GPT2_SMALL_LAYERS}
        return AutoencoderConfig(named_dst, _of_layers(paths, wanted, text), "gpt2-small", text)
    if "{layer}" in text:
        if wanted is None:
            raise InvalidRequestError(f"{text} is of any layer: say which layers.")
        return AutoencoderConfig(_needed(dst, text), {layer: text.replace("{layer}", str(layer)) for layer in wanted})
    if is_saelens_folder(text):
        return _from_saelens([text], dst, wanted)
    if not Path(text).exists() and "/" not in text:
        raise UnknownNameError("autoencoder", text, _NAMED, "A path or URL of autoencoders is taken as well.")
    found = {int(file.stem): file for file in Path(text).glob("*.pt") if file.stem.isdecimal()}
    if not found:
        raise MissingFileError(f"{text}/{{layer}}.pt")
    return AutoencoderConfig(_needed(dst, text), _of_layers(found, wanted, text))


def load_autoencoders(
    source: PathLike | Sequence[PathLike] | Mapping[int, PathLike],
    dst: DerivedScalarType | None = None,
    *,
    layers: Iterable[int] | None = None,
    model: ModelContext | None = None,
    device: torch.device | str | None = None,
    omit_dead_latents: bool = False,
    dtype: torch.dtype | None = None,
    base_model_name: str | None = None,
) -> AutoencoderContext:
    """Autoencoders by name, path, URL or SAELens folder. Each layer's is loaded when it is first used.

    Args:
        source: see `autoencoder_config`.
        dst: the place they were trained on, where the source does not say it.
        layers: for which layers; all that there are if None.
        model: the model they are for: they are checked against it, and go to its device.
        device: where they go, if not to the model's; `get_default_device()` if neither is given.
        omit_dead_latents: leave out latents that had long not been active when training ended.
        dtype: the weights' floating-point type; that of the files if None.
        base_model_name: the model they were trained on, if it goes by another name than the source gives it.

    Raises:
        AutoencoderMismatchError: they are of another model than `model`.
        UnknownNameError, AutoencoderFormatError, InvalidRequestError, MissingFileError: see `autoencoder_config`.
    """
    if device is None and model is not None:
        device = model.device
    config = autoencoder_config(source, dst, layers, base_model_name)
    context = AutoencoderContext(config, device, omit_dead_latents=omit_dead_latents, dtype=dtype)
    if model is not None:
        context.check_model(model)
    return context


def _needed(dst: DerivedScalarType | None, source: object) -> DerivedScalarType:
    if dst is None:
        raise InvalidRequestError(
            f"Of which place are the autoencoders in {source!s:.200}? Give dst, such as DerivedScalarType.MLP_POST_ACT."
        )
    return dst


def _of_layers(paths: Mapping[int, PathLike], wanted: list[int] | None, source: object) -> dict[int, PathLike]:
    if wanted is None:
        return dict(paths)
    missing = [layer for layer in wanted if layer not in paths]
    if missing:
        raise InvalidRequestError(f"{source!s:.200} has no autoencoders for layers {missing}; it has {sorted(paths)}.")
    return {layer: paths[layer] for layer in wanted}


def _from_saelens(folders: list[str], dst: DerivedScalarType | None, wanted: list[int] | None) -> AutoencoderConfig:
    paths: dict[int, PathLike] = {}
    places: dict[str, str] = {}
    base_model_name: str | None = None
    for folder in folders:
        origin = read_saelens_config(folder).origin
        if origin.place is None or origin.layer_index is None:
            raise AutoencoderFormatError(
                f"{folder}: its configuration names no hook, so its place and layer are not known. Give "
                "load_autoencoders a mapping from its layer to it, and dst."
            )
        if origin.layer_index in paths:
            raise AutoencoderFormatError(
                f"{folder} and {paths[origin.layer_index]} are both of layer {origin.layer_index}."
            )
        if origin.base_model_name and base_model_name and not same_base_model(origin.base_model_name, base_model_name):
            raise AutoencoderFormatError(
                f"{folder} is of the model {origin.base_model_name}, and {folders[0]} of {base_model_name}."
            )
        paths[origin.layer_index] = folder
        places[origin.place] = folder
        base_model_name = base_model_name or origin.base_model_name
    if len(places) > 1 or (dst is not None and dst.value not in places):
        asked = "" if dst is None else f", and {dst.value} was asked for"
        raise AutoencoderFormatError(f"These folders are of {places}{asked}; a context has autoencoders of one place.")
    return AutoencoderConfig(
        derived_scalar_type_of(next(iter(places))), _of_layers(paths, wanted, folders), base_model_name
    )
