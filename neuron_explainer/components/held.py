"""What is computed from a model's weights once, and kept as long as the model has these weights.

>>> import neuron_explainer as ne
>>> model = ne.load_model("tiny", device="cpu").get_or_create_model()
>>> made = [held(model, "an example", lambda: model.embedding * 2) for _ in range(2)]
>>> made[0] is made[1]
True
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch

from neuron_explainer.models.model_context import weights_now
from neuron_explainer.models.transformer import Transformer

T = TypeVar("T")
MOST_BYTES = 2 * 2**30
"""How much is kept of one model; what was used longest ago goes first."""


class _Kept:
    """What is kept of one model."""

    def __init__(self) -> None:
        self.weights: list[tuple[int, int]] = []
        self.results: OrderedDict[Hashable, Any] = OrderedDict()


_KEPT: WeakKeyDictionary[Transformer, _Kept] = WeakKeyDictionary()
_LOCK = threading.Lock()


def held(model: Transformer, key: Hashable, make: Callable[[], T]) -> T:
    """A result that depends on a model's weights alone: made at the first call, the same at later ones.

    It is made again where the weights have changed. Two threads that ask at the same time may both make it.

    Args:
        model: the model.
        key: which result.
        make: computes it, without gradients.
    """
    weights = weights_now(model)
    with _LOCK:
        kept = _KEPT.setdefault(model, _Kept())
        if kept.weights != weights:
            kept.weights = weights
            kept.results.clear()
        if key in kept.results:
            kept.results.move_to_end(key)
            return cast(T, kept.results[key])
    # What is made in inference mode could not be used with gradients later.
    with torch.inference_mode(False), torch.no_grad():
        result = make()
    with _LOCK:
        if kept.weights == weights:
            kept.results[key] = result
            while len(kept.results) > 1 and sum(map(_n_bytes, kept.results.values())) > MOST_BYTES:
                kept.results.popitem(last=False)
    return result


def _n_bytes(result: Any) -> int:
    if isinstance(result, torch.Tensor):
        return result.nbytes
    return sum(map(_n_bytes, result)) if isinstance(result, tuple | list) else 0
