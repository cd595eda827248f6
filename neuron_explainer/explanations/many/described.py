"""What tells an explainer or a scorer from another: its settings, as JSON can hold them."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from neuron_explainer.explanations.clients.client import ChatClient
from neuron_explainer.storage.locations import path_text, without_secrets
from neuron_explainer.wording import as_valid_text, without_credentials

_DEEPEST, _LONGEST, _MOST = 5, 2_000, 100
_NOT_SETTINGS = ("progress", "cache")


def settings_as_json(value: object, depth: int = 0) -> Any:
    """Settings of an explainer, a scorer or a part of one, by which a later call is told from the one that began.

    An object is its class and what its constructor took, as far as it keeps that under the same name. Of a language
    model that is asked only the name counts: an answer does not depend on budgets, addresses and keys, so a run that
    was stopped can go on with others.

    Args:
        value: the object, or a value of its own.
        depth: how deep it is in another; what is deeper than 5 is its class alone.

    >>> from neuron_explainer.explanations.scoring.baselines import OneToken
    >>> settings_as_json([OneToken(" the"), 1.5])
    [{'class': 'OneToken', 'token': ' the'}, 1.5]
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return as_valid_text(without_credentials(value[:_LONGEST]))
    if isinstance(value, Enum):
        return settings_as_json(value.value, depth)
    if isinstance(value, os.PathLike):
        return without_secrets(path_text(value))
    if depth > _DEEPEST:
        return type(value).__name__
    if isinstance(value, Mapping):
        return {str(key): settings_as_json(value[key], depth + 1) for key in list(value)[:_MOST]}
    if isinstance(value, list | tuple | set | frozenset):
        several: Iterable[Any] = value if isinstance(value, list | tuple) else sorted(value, key=repr)
        return [settings_as_json(each, depth + 1) for each in list(several)[:_MOST]]
    if inspect.isroutine(value) or isinstance(value, type):
        return getattr(value, "__qualname__", type(value).__name__)
    return _of_object(value, depth)


def _of_object(value: object, depth: int) -> dict[str, Any]:
    said: dict[str, Any] = {"class": type(value).__name__}
    model_name = getattr(value, "model_name", None)
    if isinstance(model_name, str):
        return {**said, "name": settings_as_json(model_name)}
    name = getattr(value, "name", None)
    if isinstance(name, str):
        said["name"] = settings_as_json(name)
    if isinstance(value, ChatClient):
        return said
    for taken in _taken(type(value)):
        if taken not in _NOT_SETTINGS and "api_key" not in taken and hasattr(value, taken):
            said[taken] = settings_as_json(getattr(value, taken), depth + 1)
    return said


def _taken(kind: type) -> list[str]:
    """The names that a class's constructor takes."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
