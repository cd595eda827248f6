"""What was computed for texts, kept for the next explanation that is scored on the same ones.

Texts that are computed together may change the last digits of each other's results. So results are kept for lists of
texts and not for single ones: a score is the same, whatever was scored before, and in whatever order.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")

MOST_KEPT = 1024


class KeptByText(Generic[ResultT]):
    """The results of a function of texts; those of the last lists, of a thousand texts, are kept. Threads may share it.

    Args:
        compute: gives a result for each text.
        most: of how many texts the results are kept.

    >>> lengths = KeptByText(lambda texts: list(map(len, texts)))
    >>> lengths(["one", "three", "one"])
    [3, 5, 3]
    """

    def __init__(self, compute: Callable[[list[str]], Iterable[ResultT]], most: int = MOST_KEPT) -> None:
        self._compute, self._most = compute, most
        self._kept: OrderedDict[tuple[Hashable, tuple[str, ...]], list[ResultT]] = OrderedDict()
        self._keeping = threading.Lock()

    def __call__(self, texts: Sequence[str], state: Hashable = None) -> list[ResultT]:
        """A result for each text; each is computed once, all together; a list that is kept is not computed.

        Args:
            texts: the texts.
            state: what else the results depend on.
        """
        different = tuple(dict.fromkeys(texts))
        with self._keeping:
            found = self._kept.get((state, different))
        if found is None and different:
            found = list(self._compute(list(different)))
        known = dict(zip(different, found or (), strict=True))
        with self._keeping:
            if found:
                self._kept[state, different] = found
                self._kept.move_to_end((state, different))
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._most:
                self._kept.popitem(last=False)
        return [known[text] for text in texts]
