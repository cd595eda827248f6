"""What was computed for texts, kept for the next explanation that is scored on the same ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")

MOST_KEPT = 1024


class KeptByText(Generic[ResultT]):
    """The results of a function of texts; those of the last thousand texts are kept. Threads may share it.

    Args:
        compute: gives a result for each text.
        most: of how many texts the results are kept.

    >>> lengths = KeptByText(lambda texts: list(map(len, texts)))
    >>> lengths(["one", "three", "one"])
    [3, 5, 3]
    """

    def __init__(self, compute: Callable[[list[str]], Sequence[ResultT]], most: int = MOST_KEPT) -> None:
        self._compute, self._most = compute, most
        self._kept: OrderedDict[tuple[Hashable, str], ResultT] = OrderedDict()
        self._keeping = threading.Lock()

    def __call__(self, texts: Sequence[str], state: Hashable = None) -> list[ResultT]:
        """A result for each text; only those that are not kept are computed, each once.

        Args:
            texts: the texts.
            state: what else the results depend on.
        """
        with self._keeping:
            known = {text: self._kept[state, text] for text in texts if (state, text) in self._kept}
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known |= zip(new, self._compute(new), strict=True)
        with self._keeping:
            for text in texts:
                self._kept[state, text] = known[text]
                self._kept.move_to_end((state, text))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return [known[text] for text in texts]
