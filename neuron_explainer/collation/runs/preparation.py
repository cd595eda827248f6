"""From a caller's model, texts and settings to a job."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.collation.corpus.beginning import with_beginning_rule
from neuron_explainer.collation.corpus.texts import n_characters, read_texts
from neuron_explainer.collation.runs.job import CollatedModel, Job
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.provenance import model_identity, versions
from neuron_explainer.collation.runs.scalar_source import ScalarSource, entry_kind_of, layers_of
from neuron_explainer.collation.settings import DEFAULT_SAVE_EVERY_SECONDS, CollateSettings
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.beginning import beginning_token
from neuron_explainer.models.checkpoints.load_model import load_model
from neuron_explainer.models.devices import DeviceGiven, DtypeGiven, as_device, as_dtype
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.offload.choices import Offload
from neuron_explainer.vocabulary.dimensions import Dimension

ModelGiven = ModelContext | torch.nn.Module | str | os.PathLike[str]
"""A model context, or what `load_model` takes: a name, a path, an address, a `transformers` model."""


def model_of(
    model: ModelGiven,
    *,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
    offload: Offload | None = None,
) -> ModelContext:
    """The model context that `model` is, or the one that `load_model` makes of it.

    Raises:
        InvalidRequestError: a loaded model has another device or dtype than the one given, or is in memory and is to be
            offloaded; or the device is unknown.
        UnknownNameError: `dtype` or `offload` is unknown.
    """
    if not isinstance(model, ModelContext):
        return load_model(model, device=device, dtype=dtype, offload=offload)
    loaded = model.get_or_create_model()
    if offload is not None and not loaded.is_offloaded:
        raise InvalidRequestError(
            f"offload is {shown(offload)}, but {model.model_name} is in memory already. Load it with offload='disk'."
        )
    if device is not None and not _is_on(loaded.device, device):
        raise InvalidRequestError(
            f"device is {device!r}, but the model is already on {loaded.device}. Load it on {device!r} instead."
        )
    if as_dtype(dtype, loaded.dtype) != loaded.dtype:
        raise InvalidRequestError(f"dtype is {dtype!r}, but the model is {loaded.dtype}. Load it as {dtype!r} instead.")
    return model


def _is_on(found: torch.device, asked: DeviceGiven) -> bool:
    """Whether a device is the one asked for; "cuda" without a number is any CUDA device."""
    is_any = isinstance(asked, str) and ":" not in asked
    device = as_device(asked)
    return found.type == device.type and (is_any or found.index in (None, device.index))


def collated_model_of(
    model: ModelGiven,
    config: ConfigOrModel | None,
    loss: LossFnConfig | LossFunction | None,
    *,
    device: DeviceGiven | None = None,
    dtype: DtypeGiven | None = None,
    offload: Offload | None = None,
) -> CollatedModel:
    """A model with what its derived scalar needs, from what a caller gives.

    Raises:
        InvalidRequestError: a loaded model has another device or dtype than the one given, or is in memory and is to be
            offloaded.
        MisconfiguredError: `config` is neither a DstConfig nor a model.
    """
    own_config = None if config is None else as_config(config)
    return CollatedModel(model_of(model, device=device, dtype=dtype, offload=offload), own_config, loss)


def refuse_interventions(model_context: ModelContext) -> None:
    """Refuse to make or check a dataset of a model that the caller is changing in this thread.

    Raises:
        InvalidRequestError: an intervention is active.
    """
    changed = ", ".join(model_context.get_or_create_model().active_interventions)
    if changed:
        raise InvalidRequestError(
            f"An intervention on {model_context.model_name} is active here ({changed}), and a dataset describes the "
            "model as it is. Leave the `with` block of the intervention first; live_record works within it."
        )


def refuse_offloaded(model_context: ModelContext) -> None:
    """Refuse to hand an offloaded model to Ray's workers.

    Raises:
        InvalidRequestError: the model is offloaded.
    """
    if model_context.get_or_create_model().is_offloaded:
        raise InvalidRequestError(
            "Each Ray worker has the whole model in memory, so an offloaded one cannot run there. Use engine='local', "
            "or load the model without offload."
        )


def job_of(
    collated_model: CollatedModel,
    texts: object,
    settings: CollateSettings,
    *,
    folder: Path | None = None,
    save_every_seconds: float = DEFAULT_SAVE_EVERY_SECONDS,
    progress: Progress | None = None,
    components: dict[int, list[int]] | None = None,
) -> Job:
    """Prepare to collate a scalar of a model over texts.

    Args:
        collated_model: the model, with what its scalar needs.
        texts: as `read_texts` takes them, or a function that starts the stream of texts again.
        settings: what is collated.
        folder, save_every_seconds, progress, components: as Job has them.

    Raises:
        InvalidRequestError: the scalar cannot be collated, or the model lacks a layer or has a shorter context.
    """
    model_context = collated_model.model_context
    settings = with_beginning_rule(settings, model_context)
    _check_lengths(settings, model_context)
    settings = _with_layers_of_autoencoders(settings, collated_model)
    layers = layers_of(settings.dst, settings.layers, model_context.n_layers)
    return Job(
        settings=settings,
        entry_kind=entry_kind_of(settings.dst),
        texts=texts if callable(texts) else lambda: read_texts(texts, settings.text_field, model_context.chat_text),
        encode=lambda text: model_context.encode(text, add_special_tokens=False),
        bos_token=beginning_token(model_context) if settings.prepend_bos else None,
        source=ScalarSource(model_context, settings.dst, layers, collated_model.config, collated_model.loss),
        device=model_context.get_or_create_model().device,
        folder=folder,
        identity={
            "model": model_identity(model_context),
            "settings": settings.to_json(),
            "derivation": _described(collated_model),
            "versions": versions(),
        },
        save_every_seconds=save_every_seconds,
        progress=progress
        or Progress(max_tokens=settings.max_tokens, n_characters=n_characters(texts, settings.text_field)),
        components=components,
    )


def _with_layers_of_autoencoders(settings: CollateSettings, collated_model: CollatedModel) -> CollateSettings:
    """Settings that leave the layers open, for latents: the layers that have an autoencoder."""
    dst, config = settings.dst, collated_model.config
    is_of_latents = dst.shape_spec_per_token_sequence[-1] is Dimension.AUTOENCODER_LATENTS
    if settings.layers is not None or config is None or dst.has_no_layers or not is_of_latents:
        return settings
    autoencoders = config.get_autoencoder_context()
    if autoencoders is None or len(autoencoders.layer_indices) == collated_model.model_context.n_layers:
        return settings
    return dataclasses.replace(settings, layers=autoencoders.layer_indices)


def _check_lengths(settings: CollateSettings, model_context: ModelContext) -> None:
    length = settings.context_length
    if length > model_context.max_context_length:
        raise InvalidRequestError(
            f"context_length is {length}, but {model_context.model_name} reads at most "
            f"{model_context.max_context_length} tokens."
        )
    if entry_kind_of(settings.dst) is EntryKind.TOKEN_PAIRS and (settings.example_tokens or length) < length:
        raise InvalidRequestError(
            f"example_tokens is {settings.example_tokens}, but examples of {settings.dst.value} (one number for each "
            f"token pair) show whole sequences. Leave example_tokens out, or shorten context_length (now {length})."
        )


def _described(collated_model: CollatedModel) -> dict[str, Any]:
    """The autoencoders, trace, node and loss that are set, in words."""
    described: dict[str, Any] = {}
    if collated_model.loss is not None:
        described["loss"] = repr(collated_model.loss) if not callable(collated_model.loss) else "a function"
    if collated_model.config is not None:
        for name in ("autoencoder_config", "trace_config", "node_index_for_attribution"):
            if (value := getattr(collated_model.config, name, None)) is not None:
                described[name] = repr(value)
    return described
