"""The Python that loads a model and its autoencoders again."""

from __future__ import annotations

import os
from functools import partial

import torch

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.attribution.exploring.python_text import call, literal, name_in_notebook, your_own
from neuron_explainer.models.autoencoder_context import DEAD_AFTER_STEPS, AutoencoderConfig, AutoencoderContext
from neuron_explainer.models.autoencoders.named import NAMED_AUTOENCODERS, named_autoencoder_config
from neuron_explainer.models.checkpoints.load_model import name_of_source
from neuron_explainer.models.devices import get_default_device
from neuron_explainer.models.model_context import ModelContext, StandardModelContext
from neuron_explainer.storage.locations import is_url, without_secrets


def model_code(model: ModelContext) -> tuple[str, list[str]]:
    """The name of the model in the code, and the lines that give it."""
    reopened_by = model.reopened_by if isinstance(model, StandardModelContext) else None
    if not isinstance(reopened_by, partial):
        name = name_in_notebook(model)
        return (name, []) if name is not None else ("model", [your_own("model", model)])
    (source,), how = reopened_by.args, reopened_by.keywords
    lines = []
    given: dict[str, str | None] = {}
    for option in ("tokenizer", "config"):  # objects that may have no text
        if how[option] is not None:
            given[option] = literal(how[option])
            if given[option] is None:
                given[option] = option
                lines.append(your_own(option, "the one that the model was loaded with"))
    loaded = call(
        "ne.load_model",
        repr(_public(source)),
        device=_device(how["device"], get_default_device()),
        dtype=_dtype(how["dtype"], torch.float32),
        revision=_text(how["revision"]),
        **given,
        chat_template=_text(how["chat_template"]),
        name=None if how["name"] == name_of_source(source) else repr(how["name"]),
        offload=_text(how["offload"]),
        check_memory=None if how["check_memory"] else "False",
        pickled="True" if how["pickled"] else None,
    )
    return "model", [*lines, f"model = {loaded}"]


def autoencoders_code(config: DstConfig, model_name: str) -> tuple[str | None, list[str]]:
    """The name of the autoencoders in the code, and the lines that give them; None and no lines without any."""
    several = config.multi_autoencoder_context if config.autoencoder_context is None else None
    if several is None:
        only = config.get_autoencoder_context()
        contexts = [] if only is None else [only]
    else:
        contexts = list(several.autoencoder_context_by_node_type.values())
    if not contexts:
        return None, []
    calls = [_loaded(context, config.get_model_context(), model_name) for context in contexts]
    names = [name_in_notebook(context) for context in contexts]
    texts = [each or name for each, name in zip(calls, names, strict=True)]
    if None in texts:
        return "autoencoders", [your_own("autoencoders", contexts)]
    if texts == [names[0]] and names[0] is not None:
        return names[0], []
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(map(str, texts))}]"
    return "autoencoders", [f"autoencoders = {listed}"]


def _loaded(context: AutoencoderContext, model: ModelContext, model_name: str) -> str | None:
    """The call that loads autoencoders; None if they came from memory."""
    config = context.autoencoder_config
    paths = config.autoencoder_path_by_layer_index
    if not paths or context.dead_after != DEAD_AFTER_STEPS:
        return None
    named = _named_source(config)
    return call(
        "ne.load_autoencoders",
        *(named or (_mapping(config), repr(config.dst.value))),
        layers=repr(list(paths)) if named else None,
        model=model_name,
        device=_device(context.device, model.device),
        omit_dead_latents="True" if context.omit_dead_latents else None,
        dtype=_dtype(context.dtype, None),
        base_model_name=None if named else _text(config.base_model_name),
        input_scaling=None if named or config.input_scaling is None else repr(config.input_scaling.value),
    )


def _named_source(config: AutoencoderConfig) -> tuple[str] | None:
    """The name of published autoencoders, if these are exactly those."""
    if config.name is None or config.name not in NAMED_AUTOENCODERS:
        return None
    known = named_autoencoder_config(config.name)
    paths = config.autoencoder_path_by_layer_index
    is_same = all(known.autoencoder_path_by_layer_index.get(layer) == path for layer, path in paths.items())
    alike = (known.dst, known.base_model_name, known.input_scaling)
    return (
        (repr(config.name),)
        if is_same and alike == (config.dst, config.base_model_name, config.input_scaling)
        else None
    )


def _mapping(config: AutoencoderConfig) -> str:
    return repr({layer: _public(path) for layer, path in config.autoencoder_path_by_layer_index.items()})


def _public(source: str | os.PathLike[str]) -> str:
    """A source as code shows it: an address without secrets, a path from the root."""
    text = os.fspath(source)
    if is_url(text):
        return without_secrets(text)
    return os.path.abspath(text) if os.path.exists(text) else text


def _text(text: str | None) -> str | None:
    return None if text is None else repr(text)


def _device(device: torch.device, default: torch.device) -> str | None:
    return None if device == default else repr(str(device))


def _dtype(dtype: torch.dtype | None, default: torch.dtype | None) -> str | None:
    return None if dtype == default else repr(str(dtype).removeprefix("torch."))
