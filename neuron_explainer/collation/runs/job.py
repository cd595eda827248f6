"""From what a caller says to a job that can be run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.collation.corpus.texts import n_characters, read_texts
from neuron_explainer.collation.runs.local import Job
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.provenance import model_identity, versions
from neuron_explainer.collation.runs.scalar_source import ScalarSource, entries_of, layers_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.checkpoints.load_model import load_model
from neuron_explainer.models.model_context import ModelContext, StandardModelContext


@dataclass(frozen=True)
class Subject:
    """The model that is looked at, and how derived scalars are derived from it.

    Attributes:
        model_context: the model.
        config: autoencoders and whatever else the derived scalar needs; None: nothing.
        loss: what gradients are of, for scalars that need them.
    """

    model_context: ModelContext
    config: DstConfig | None = None
    loss: Any = None


def model_of(model: Any, *, device: Any = None, dtype: Any = None) -> ModelContext:
    """A model context, or whatever `load_model` takes.

    Raises:
        InvalidRequestError: a loaded model is to be on another device or of another dtype.
    """
    if not isinstance(model, ModelContext):
        return load_model(model, device=device, dtype=dtype)
    there = model.get_or_create_model()
    if device is not None and torch.device(device).type != there.device.type:
        raise InvalidRequestError(
            f"The model is on {there.device}, and device={device!r} was asked for: load it there."
        )
    if dtype is not None and str(dtype).removeprefix("torch.") != str(there.dtype).removeprefix("torch."):
        raise InvalidRequestError(f"The model is {there.dtype}, and dtype={dtype!r} was asked for: load it so.")
    return model


def job_of(
    subject: Subject,
    texts: object,
    settings: CollateSettings,
    *,
    folder: Path | None = None,
    checkpoint_seconds: float = 300.0,
    progress: Progress | None = None,
    components: dict[int, list[int]] | None = None,
) -> Job:
    """The job of collating a scalar of a model over texts.

    Raises:
        InvalidRequestError: the scalar cannot be collated, or a layer or the context length is not the model's.
    """
    model_context = subject.model_context
    if settings.context_length > model_context.max_context_length:
        raise InvalidRequestError(
            f"context_length is {settings.context_length}, and {model_context.model_name} sees at most "
            f"{model_context.max_context_length} tokens."
        )
    entries = entries_of(settings.dst)
    if (
        entries.value == "token_pairs"
        and (settings.example_tokens or settings.context_length) < settings.context_length
    ):
        raise InvalidRequestError(
            f"example_tokens is {settings.example_tokens}, but examples by token pair are whole sequences: make "
            f"context_length (now {settings.context_length}) shorter instead."
        )
    layers = layers_of(settings.dst, settings.layers, model_context.n_layers)
    corpus = texts if callable(texts) else lambda: read_texts(texts, settings.text_field)
    return Job(
        settings=settings,
        entries=entries,
        texts=corpus,
        encode=lambda text: model_context.encode(text, add_special_tokens=False),
        bos_token=beginning_token(model_context) if settings.prepend_bos else None,
        run_model=ScalarSource(model_context, settings.dst, layers, subject.config, subject.loss),
        device=model_context.get_or_create_model().device,
        folder=folder,
        identity={
            "model": model_identity(model_context),
            "settings": settings.to_json(),
            "derivation": _described(subject),
            "versions": versions(),
        },
        checkpoint_seconds=checkpoint_seconds,
        progress=progress
        or Progress(max_tokens=settings.max_tokens, n_characters=n_characters(texts, settings.text_field)),
        components=components,
    )


def beginning_token(model_context: ModelContext) -> int:
    """The token that the model knows a text's beginning by.

    What its tokenizer puts before every text; else the token that ends one, which GPT-2 and others use for both.

    Raises:
        InvalidRequestError: there is neither.
    """
    added: Sequence[int] = model_context.encode("", add_special_tokens=True)
    if added:
        return added[0]
    if isinstance(model_context, StandardModelContext) and model_context.end_token_ids:
        return model_context.end_token_ids[0]
    raise InvalidRequestError(
        f"prepend_bos is set, but the tokenizer of {model_context.model_name} puts no token before a text and names "
        "none that ends one."
    )


def _described(subject: Subject) -> dict[str, Any]:
    """The autoencoders, trace and loss, as far as they can be told in words."""
    described: dict[str, Any] = {}
    if subject.loss is not None:
        described["loss"] = repr(subject.loss) if not callable(subject.loss) else "a function"
    if subject.config is not None:
        for name in ("autoencoder_config", "trace_config", "node_index_for_attribution"):
            if (value := getattr(subject.config, name, None)) is not None:
                described[name] = repr(value)
    return described
