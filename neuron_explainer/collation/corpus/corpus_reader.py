"""Reads a corpus, and checks that a resumed run gets the same texts."""

import hashlib
from collections.abc import Iterator

from neuron_explainer.collation.corpus.text_files import Text
from neuron_explainer.errors import CorpusChangedError


class CorpusReader:
    """Reads texts one by one, and keeps their number and digest, to compare them with those of an earlier run.

    Attributes:
        n_texts: how many texts were read.
        n_characters: how many characters they have.
    """

    def __init__(self, texts: Iterator[Text], expected: tuple[int, str] | None = None) -> None:
        """Begin before the first text.

        Args:
            texts: the texts.
            expected: how many texts an earlier run read, and their digest; None for a first run.
        """
        self._texts = texts
        self._expected = expected
        self._hash = hashlib.sha256()
        self.n_texts = 0
        self.n_characters = 0

    def next(self) -> Text | None:
        """The next text; None after the last.

        Raises:
            CorpusChangedError: the texts differ from those of the earlier run.
        """
        text = next(self._texts, None)
        if text is not None:
            content = text.content.encode()
            self._hash.update(len(content).to_bytes(8, "little") + content)
            self.n_texts += 1
            self.n_characters += len(text.content)
        if self._expected is not None:
            self._compare(*self._expected, ended=text is None)
        return text

    def _compare(self, n_texts: int, digest: str, ended: bool) -> None:
        if self.n_texts == n_texts and self.digest == digest:
            self._expected = None
        elif self.n_texts >= n_texts or ended:
            raise CorpusChangedError(
                f"The first {n_texts} texts differ from those at the start of the run. Resume it with the same texts "
                "in the same order, or start again with overwrite=True."
            )

    @property
    def digest(self) -> str:
        """The SHA-256, in hex, of all texts read so far, each preceded by its length in bytes."""
        return self._hash.hexdigest()
