"""Loading autoencoders: by name, from one file or folder, from one for each layer, or from memory."""

import os
from collections.abc import Mapping, Sequence, ValuesView
from typing import cast

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.autoencoder_context import DEAD_AFTER_STEPS, AutoencoderContext
from neuron_explainer.models.autoencoders.common_origin import chosen_layers, common_origin, required_dst
from neuron_explainer.models.autoencoders.in_memory import WHAT_IS_TAKEN, is_autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder
from neuron_explainer.models.autoencoders.locating import autoencoder_config
from neuron_explainer.models.autoencoders.origin import check_origin
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layers, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

PathLike = str | os.PathLike[str]
Source = PathLike | object
"""A path or address, or an autoencoder in memory."""


def load_autoencoders(
    source: Source | Sequence[Source] | Mapping[int, Source],
    dst: DerivedScalarType | str | None = None,
    *,
    layers: LayersGiven = None,
    model: ModelContext | None = None,
    device: DeviceGiven | None = None,
    omit_dead_latents: bool = False,
    dtype: DtypeGiven | None = None,
    base_model_name: str | None = None,
    input_scaling: InputScaling | str | None = None,
    sae_id: str | Sequence[str] | None = None,
) -> AutoencoderContext:
    """Autoencoders by name, release, path or folder, each layer's loaded when it is first used; or those in memory.

    Transcoders are taken too: `dst` is then what they predict, RESID_DELTA_MLP.

    Example:
        model = ne.load_model("gpt2-small")
        autoencoders = ne.load_autoencoders("ae-resid-delta-mlp-v4", model=model, layers=[5])
        autoencoders.get_autoencoder(5)
        ne.load_autoencoders("gpt2-small-res-jb", sae_id="blocks.{layer}.hook_resid_pre", model=model)

    Args:
        source: see `autoencoder_config`; or in memory: an SAE or a transcoder of SAELens, several, or a mapping from
            layers to these, to state dicts in OpenAI's form, to objects of type `Autoencoder`, or to paths.
        dst: the derived scalar type they were trained on, if the source does not say it.
        layers: which layers; None means all that the source has.
        model: the model that they are for: they are checked against it and go to its device.
        device: where they go; None means the model's device, or `get_default_device()` without a model.
        omit_dead_latents: leave out latents that had long been inactive when training ended.
        dtype: the weights' floating-point dtype; None leaves it as it is in the files.
        base_model_name: the model they were trained on, if the source gives it another name.
        input_scaling: how each token's input was scaled in training, if the source does not say it or is wrong: see
            `load_autoencoder`.
        sae_id: which autoencoders of a release on the hub: see `autoencoder_config`.

    Raises:
        AutoencoderMismatchError: they do not belong to `model`.
        UnknownNameError, AutoencoderFormatError, InvalidRequestError, MissingFileError: see `autoencoder_config`.
    """
    if model is not None:
        checked_type("model", model, ModelContext)  # type: ignore[type-abstract]  # it only asks isinstance
        device = model.device if device is None else device
    if _holds_objects(source):
        if sae_id is not None:
            raise InvalidRequestError("Autoencoders in memory have no sae_id. Leave it out.")
        context = _of_objects(source, dst, layers, device, omit_dead_latents, dtype, base_model_name, input_scaling)
    else:
        config = autoencoder_config(cast(PathLike, source), dst, layers, base_model_name, input_scaling, sae_id)
        context = AutoencoderContext(config, device, omit_dead_latents=omit_dead_latents, dtype=dtype)
    if model is not None:
        context.check_model(model)
    return context


def _holds_objects(source: object) -> bool:
    """Whether a source is an autoencoder in memory, or holds one; else it is a path, or holds paths.

    Raises:
        InvalidRequestError: it is neither, or holds something else.
    """
    if is_autoencoder(source):
        return True
    given = source.values() if isinstance(source, Mapping) else source
    parts: list[object] = (
        list(given) if isinstance(given, Sequence | ValuesView) and not isinstance(given, str) else [given]
    )
    for part in parts:
        if not is_autoencoder(part) and not isinstance(part, str | os.PathLike):
            raise InvalidRequestError(
                f"{shown(part)} is not an autoencoder. Give a name, {WHAT_IS_TAKEN}; several; or a mapping from layers "
                "to these."
            )
    return any(map(is_autoencoder, parts))


def _of_objects(
    source: object,
    dst: DerivedScalarType | str | None,
    layers: LayersGiven,
    device: DeviceGiven | None,
    omit_dead_latents: bool,
    dtype: DtypeGiven | None,
    base_model_name: str | None,
    input_scaling: InputScaling | str | None,
) -> AutoencoderContext:
    """A context of autoencoders of which at least one is in memory; all are loaded now.

    Raises:
        InvalidRequestError, AutoencoderFormatError, AutoencoderMismatchError: see `load_autoencoders`.
    """
    asked_dst = None if dst is None else derived_scalar_type_of(dst)
    asked_layers = None if layers is None else sorted(checked_layers("layers", layers))
    given: list[object]
    layers_given: list[int | None]
    if is_autoencoder(source):
        given = [source]
        layers_given = [asked_layers[0] if asked_layers is not None and len(asked_layers) == 1 else None]
    elif isinstance(source, Mapping):
        given, layers_given = list(source.values()), list(checked_layers("source", list(source)))
    else:
        given = list(cast(Sequence[object], source))
        layers_given = [None] * len(given)
    loaded = [load_autoencoder(each, device=device, dtype=dtype, input_scaling=input_scaling) for each in given]
    names = [
        f"the {type(each).__name__}{'' if layer is None else f' of layer {layer}'}"
        for each, layer in zip(given, layers_given, strict=True)
    ]
    origins = [(name, origin) for name, (_, origin) in zip(names, loaded, strict=True)]
    if all(origin.dst is None for _, origin in origins):
        asked_dst = required_dst(asked_dst, ", ".join(names))
    common = common_origin(origins, asked_dst, layers_given)
    for (name, origin), layer in zip(origins, common.layers, strict=True):
        check_origin(origin, common.dst, layer, name)
    by_layer = {layer: autoencoder for layer, (autoencoder, _) in zip(common.layers, loaded, strict=True)}
    if omit_dead_latents:
        by_layer = {layer: each.without_dead_latents(DEAD_AFTER_STEPS) for layer, each in by_layer.items()}
    return AutoencoderContext.from_autoencoders(
        common.dst,
        chosen_layers(by_layer, asked_layers, "The source"),
        device,
        common.base_model_name if base_model_name is None else base_model_name,
    )
