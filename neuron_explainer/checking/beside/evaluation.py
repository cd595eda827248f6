"""Passes of the reference: in evaluation mode, by plain formulas, one check at a time, and afterwards as it was."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neuron_explainer.models.watching import stop_if_asked

_LOCKS: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
_LOCKS_ARE_MADE = threading.Lock()
_SECONDS_BETWEEN_LOOKS = 0.2


@contextmanager
def evaluating(hf_model: Any, attention: str = "eager") -> Iterator[None]:
    """In evaluation mode, with attention and experts written out, and afterwards as it was, each module in its mode.

    The other implementations of attention are no measure: by `sdpa`, a window that hides all tokens from padding gives
    NaN, which spreads to real tokens. That of experts which `transformers` prefers has no float64.

    Args:
        hf_model: the reference.
        attention: the implementation of attention.
    """
    config = hf_model.config
    modes = [(module, module.training) for module in hf_model.modules()]
    before, experts = getattr(config, "_attn_implementation", None), getattr(config, "_experts_implementation", None)
    chooses = before not in (None, attention) and chooses_attention(hf_model)
    hf_model.eval()
    try:
        if experts not in (None, "eager"):
            config._experts_implementation = "eager"
        if chooses:
            hf_model.set_attn_implementation(attention)
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
        if experts not in (None, "eager"):
            config._experts_implementation = experts
        if chooses:
            hf_model.set_attn_implementation(before)


def chooses_attention(hf_model: Any) -> bool:
    """Whether a model takes another implementation of attention after it was made; GPT-Neo and Falcon do not."""
    return hf_model.config.model_type not in ("falcon", "gpt_neo") and hasattr(hf_model, "set_attn_implementation")


@contextmanager
def used_by_one_check(hf_model: Any) -> Iterator[None]:
    """Within it, no other thread's check uses this reference: modes, implementations and hooks belong to the model.

    Raises:
        StoppedError: the work is to stop while it waits.
    """
    with _LOCKS_ARE_MADE:
        lock = _LOCKS.setdefault(hf_model, threading.RLock())
    while not lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS):
        stop_if_asked()
    try:
        yield
    finally:
        lock.release()
