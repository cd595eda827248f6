"""`PromptPairs`: pairs of prompts as one object, to and from tables and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.experiments.pairs.files import COLUMNS, pairs_of_frame, read_pairs, write_pairs
from neuron_explainer.experiments.pairs.pair import MOST_PAIRS, PromptPair, alternatives_of
from neuron_explainer.vocabulary.checks import is_several
from neuron_explainer.wording import in_a_sentence

if TYPE_CHECKING:
    import pandas


class PromptPairs(Sequence[PromptPair]):
    """Pairs of prompts, in an order of their own. `ne.attribute`, `ne.patch` and `ne.path_patch` take them.

    Args:
        pairs: the pairs.
        kind: what they are called; text.

    Attributes:
        kind: what they are called; empty if they have no name.

    Raises:
        InvalidRequestError: an entry is not a PromptPair, there are none, or there are over 10,000.

    >>> pairs = PromptPairs([PromptPair("The son of", "The sons of", " is", " are")])
    >>> pairs[0].target, len(pairs)
    (' is', 1)
    """

    def __init__(self, pairs: Iterable[PromptPair], kind: str = "") -> None:
        if isinstance(pairs, str) or not is_several(pairs):
            raise InvalidRequestError(
                f"pairs is {shown(pairs)}. Give a list of PromptPair(clean, corrupted, …). PromptPairs.from_jsonl "
                "reads a file of them, and PromptPairs.from_dataframe a table."
            )
        self._pairs: list[PromptPair] = []
        for pair in pairs:
            if not isinstance(pair, PromptPair):
                raise InvalidRequestError(f"pairs holds {shown(pair)}. Give PromptPair(clean, corrupted, …) of each.")
            if len(self._pairs) == MOST_PAIRS:
                raise InvalidRequestError(f"pairs holds more than {MOST_PAIRS:,} pairs. Give fewer.")
            self._pairs.append(pair)
        if not self._pairs:
            raise InvalidRequestError("pairs is empty. Give at least one pair.")
        self.kind = str(kind)

    @overload
    def __getitem__(self, index: int) -> PromptPair: ...

    @overload
    def __getitem__(self, index: slice) -> PromptPairs: ...

    def __getitem__(self, index: int | slice) -> PromptPair | PromptPairs:
        return PromptPairs(self._pairs[index], self.kind) if isinstance(index, slice) else self._pairs[index]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[PromptPair]:
        return iter(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptPairs) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(tuple(self._pairs))

    def halves(self) -> tuple[PromptPairs, PromptPairs]:
        """Two halves, to choose on one and to test on the other: every other pair, so that order does not matter.

        Raises:
            InvalidRequestError: there is one pair alone.
        """
        if len(self) < 2:
            raise InvalidRequestError("There is one pair alone, which has no halves.")
        return self[::2], self[1::2]

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each pair: `clean`, `corrupted`, `target`, `distractor`; alternatives are a tuple."""
        from neuron_explainer.activations.token_table import TokenTable

        return TokenTable([{column: getattr(pair, column) for column in COLUMNS} for pair in self])

    @classmethod
    def from_dataframe(cls, frame: Any) -> PromptPairs:
        """Pairs from a table with the columns of `to_dataframe`; others are left out.

        Raises:
            InvalidRequestError: columns are missing, or a row is not a pair; the error says which one.

        >>> import pandas
        >>> rows = [["The son of the king", "The sons of the king", " is", [" are", " were"]]]
        >>> frame = pandas.DataFrame(rows, columns=["clean", "corrupted", "target", "distractor"])
        >>> PromptPairs.from_dataframe(frame)[0].distractor
        (' are', ' were')
        """
        return cls(pairs_of_frame(frame))

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write a file with a JSON object on each line, whole or not at all.

        Its keys are `clean`, `corrupted`, `target` and `distractor`; alternatives are a list.

        Raises:
            UnsupportedLocationError: `path` is not a local path.
            OSError: the system refuses to write there.
        """
        write_pairs(self, path)

    @classmethod
    def from_jsonl(cls, path: str | os.PathLike[str]) -> PromptPairs:
        """Pairs from a file that `to_jsonl` wrote, or one's own of the same keys; others are left out.

        Raises:
            MissingFileError, UnreadableFileError: it cannot be read.
            TooLargeError: it has more than 64 MB.
            MalformedRecordError: it is not such a file; the error says which line is wrong.
            UnsupportedLocationError: `path` is not a local path.
        """
        return cls(read_pairs(path))

    @property
    def title(self) -> str:
        """What they are, in a few words."""
        return f"{len(self):,} prompt pair{'' if len(self) == 1 else 's'}" + (
            f" ({in_a_sentence(self.kind)})" if self.kind else ""
        )

    def __repr__(self) -> str:
        first = self._pairs[0]
        target = " or ".join(shown(text, 30) for text in alternatives_of(first.target)[:2])
        return f"<PromptPairs: {self.title}, first {shown(first.clean, 60)} → {target}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.experiments.pairs import pairs_html

        return pairs_html(self)
