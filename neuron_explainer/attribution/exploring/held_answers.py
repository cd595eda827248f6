"""Answers that are held, the last used ones up to a number of them and of bytes; any number of threads may use them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from neuron_explainer.attribution.attribution import Attribution

MOST_ANSWERS = 200
"""How many answers are held at most; small ones take more than their tensors."""
_MOST_VALUES = 10_000


class HeldAnswers:
    """Answers by what was asked, and their values, which stay longer.

    Args:
        most_bytes: how much the tensors of answers may take; the last one is held however large it is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, Attribution] = OrderedDict()
        self._values: OrderedDict[Hashable, float] = OrderedDict()

    def get(self, key: Hashable) -> Attribution | None:
        """The answer, which is now the last used one; None if it is not held."""
        with self._lock:
            if key not in self._answers:
                return None
            self._answers.move_to_end(key)
            return self._answers[key]

    def put(self, key: Hashable, why: Attribution) -> None:
        """Hold an answer. Those that were used longest ago make room."""
        with self._lock:
            self._answers[key] = why
            self._answers.move_to_end(key)
            sizes = [each.n_bytes for each in self._answers.values()]  # tables that were asked for add to them
            while len(sizes) > 1 and (sum(sizes) > self._most_bytes or len(sizes) > MOST_ANSWERS):
                self._answers.popitem(last=False)
                sizes.pop(0)
        self.note_value(key, why.value)

    def value(self, key: Hashable) -> float | None:
        """The value of an answer that is, or was, held."""
        with self._lock:
            return self._values.get(key)

    def note_value(self, key: Hashable, value: float) -> None:
        """Keep the value of an answer that is not held itself."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > _MOST_VALUES:
                self._values.popitem(last=False)
