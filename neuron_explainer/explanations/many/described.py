"""What tells an explainer or a scorer from another: its settings, as JSON can hold them."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from neuron_explainer.explanations.clients.client import ChatClient
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.storage.locations import path_text, without_secrets
from neuron_explainer.wording import as_valid_text, without_credentials

_DEEPEST, _LONGEST, _MOST = 8, 2_000, 100
_NUMBERS_OF_TENSOR = 16
_NOT_SETTINGS = ("progress", "cache")


def settings_as_json(value: object, depth: int = 0) -> Any:
    """Settings of an explainer, a scorer or a part of one, by which a later call is told from the one that began.

    An object is its class and what its constructor took, as far as it keeps that under the same name. Of a language
    model that is asked only the name counts: an answer does not depend on budgets, addresses and keys, so a run that
    was stopped can go on with others.

    Args:
        value: the object, or a value of its own.
        depth: how deep it is in another; what is deeper than 8 is its class alone. Of a long text or list,
            the end is a digest.

    >>> from neuron_explainer.explanations.scoring.baselines import OneToken
    >>> settings_as_json([OneToken(" the"), 1.5])
    [{'class': 'OneToken', 'token': ' the'}, 1.5]
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        text = as_valid_text(without_credentials(value))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… {_digest(text)}"
    if isinstance(value, bytes | bytearray):
        return _digest(value.hex())
    if isinstance(value, Enum):
        return settings_as_json(value.value, depth)
    if isinstance(value, os.PathLike):
        return without_secrets(path_text(value))
    if depth > _DEEPEST:
        return type(value).__name__
    if isinstance(value, Mapping):
        named = {str(key): settings_as_json(each, depth + 1) for key, each in value.items()}
        return named if len(named) <= _MOST else {"digest": _digest(json.dumps(named, sort_keys=True))}
    if isinstance(value, list | tuple | set | frozenset):
        several: Iterable[Any] = value if isinstance(value, list | tuple) else sorted(value, key=repr)
        found = [settings_as_json(each, depth + 1) for each in several]
        return found if len(found) <= _MOST else [*found[:_MOST], _digest(json.dumps(found))]
    if inspect.isroutine(value) or isinstance(value, type):
        return getattr(value, "__qualname__", type(value).__name__)
    if callable(getattr(value, "tolist", None)):  # of NumPy or torch
        return settings_as_json(value.tolist(), depth)  # type: ignore[attr-defined]
    return _of_object(value, depth)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _of_object(value: object, depth: int) -> dict[str, Any]:
    said: dict[str, Any] = {"class": type(value).__name__}
    model_name = getattr(value, "model_name", None)
    if isinstance(model_name, str):
        return {**said, "name": settings_as_json(model_name), **_weights(value)}
    name = getattr(value, "name", None)
    if isinstance(name, str):
        said["name"] = settings_as_json(name)
    if isinstance(value, ChatClient):
        return said
    for taken in _taken(type(value)):
        if taken not in _NOT_SETTINGS and "api_key" not in taken and hasattr(value, taken):
            said[taken] = settings_as_json(own := getattr(value, taken), depth + 1)
            if isinstance(own, ChatClient) and hasattr(value, "instructions"):
                said["prompts"] = _digest(json.dumps(_prompts_now()))
    return said


def _prompts_now() -> list[Any]:
    """What language models are told unless an explainer or a scorer has its own: it may be replaced."""
    return [settings_as_json(each) for name, each in sorted(vars(prompts).items()) if name.lstrip("_").isupper()]


def _weights(context: Any) -> dict[str, str]:
    """A digest of a few numbers of each of a model's tensors: a name alone may be another model's, too."""
    if not callable(getattr(context, "get_or_create_model", None)):
        return {}
    digest = hashlib.sha256()
    for name, tensor in context.get_or_create_model().state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if not tensor.is_meta:  # else it stays on the disk
            flat = tensor.detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // _NUMBERS_OF_TENSOR)]
            digest.update(some.cpu().double().numpy().tobytes())
    return {"weights": digest.hexdigest()}


def _taken(kind: type) -> list[str]:
    """The names that a class's constructor takes."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
