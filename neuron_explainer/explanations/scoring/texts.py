"""The texts that a judge tells apart by an explanation: some on which the component is active, and some like them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations.asking.examples import as_word, text_key
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.overlaps import SHORTEST_RUN
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.language_models.quoting import MOST_CHARACTERS_OF_TOKEN
from neuron_explainer.explanations.scoring.measures import bootstrap_interval
from neuron_explainer.wording import counted

TextKind = Literal["positive", "near miss", "random"]
ACTIVE_FROM = 0.3
"""From which share of the highest activation on a text counts as one on which the component is active."""
LOW_UNTIL = 0.1
"""Up to which share of the highest activation the component counts as not active."""
N_TOKENS = 16
MOST_TEXTS = 100
MOST_TOKENS = 256
_FEW = 10


def notes_of_few(n_texts: int) -> list[str]:
    """What a score's note says of its texts where they are too few for its interval to mean much; else nothing."""
    return [f"only {counted(n_texts, 'text')}"] if n_texts < _FEW else []


@dataclass(frozen=True)
class JudgedText:
    """A piece of a held-out text, and what is true of it.

    Attributes:
        tokens: the piece, token by token; a token of more than 200 characters is cut off there.
        activations: the component's activation at each token; (tokens,).
        kind: "positive": the component is active; "near miss": it is not, though there is a token on which it is
            active elsewhere; "random": it is not, and there is no such token.
        source: which text it is a piece of, as a digest: pieces of one text are not independent.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    kind: TextKind
    source: str

    @cached_property
    def text(self) -> str:
        """The piece as a text."""
        return "".join(self.tokens)

    @property
    def activation(self) -> float:
        """The highest activation in the piece."""
        return max(self.activations)

    @property
    def is_positive(self) -> bool:
        """Whether the component is active."""
        return self.kind == "positive"


def texts_to_judge(
    subject: Subject,
    explanation: Explanation | None = None,
    *,
    n_tokens: int = N_TOKENS,
    most: int = MOST_TEXTS,
    seed: int = 0,
) -> list[JudgedText]:
    """As many texts on which a component is active as texts on which it is not, all from its examples for scoring.

    The texts of `subject.by_token.test` are cut into pieces, so that the highest activation of each is in the middle of
    one. A piece is positive from 0.3 of the component's highest activation on, and negative up to 0.1 of it. Pieces in
    between are left out; but where too few are so low, the lowest of these are negative, too. Half of the negative ones
    are near misses, where there are as many.

    Args:
        subject: the component.
        explanation: texts that it was written from are left out.
        n_tokens: the tokens of a piece; at the ends of a text, pieces of half as many are taken, too.
        most: the most texts, an even number.
        seed: which texts are drawn, where there are more.

    Returns:
        The positive ones, the near misses and the random ones.

    Raises:
        InvalidRequestError: there are no positive pieces, or no negative ones.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations.asking.subject import subject_of
    >>> texts = texts_to_judge(subject_of(ne.load_neuron("tiny", 2, 5)), n_tokens=8)
    >>> sum(each.is_positive for each in texts) == len(texts) / 2
    True
    """
    pieces, highest = held_out_pieces(subject, explanation, n_tokens), subject.highest
    positive = [each for each in pieces if each.is_positive]
    others = sorted((each for each in pieces if not each.is_positive), key=lambda each: each.activation)
    n = min(len(positive), len(others), max(1, most // 2))
    if n == 0:
        what = "below" if positive else "at or above"
        raise InvalidRequestError(
            f"{subject.name} has no held-out texts {what} {ACTIVE_FROM} of its highest activation "
            f"({highest:.4g}), so there is nothing to tell apart. Give a record with more examples."
        )
    low = others[: max(n, sum(each.activation <= LOW_UNTIL * highest for each in others))]
    near, random = ([each for each in low if each.kind == kind] for kind in ("near miss", "random"))
    n_near = min(len(near), max((n + 1) // 2, n - len(random)))
    draw = np.random.default_rng(seed)
    return [
        group[number]
        for group, many in ((positive, n), (near, n_near), (random, n - n_near))
        for number in sorted(draw.permutation(len(group))[:many])
    ]


def held_out_pieces(subject: Subject, explanation: Explanation | None, n_tokens: int) -> list[JudgedText]:
    """All pieces of the texts for scoring, each once; those on which the component is not active may not be low.

    A piece of eight tokens or more that stands in a text for writing, too, is left out.

    Args:
        subject: the component.
        explanation: texts that it was written from are left out.
        n_tokens: the tokens of a piece.
    """
    written_from = frozenset() if explanation is None else explanation.written_from
    active = ACTIVE_FROM * subject.highest
    shared = _tokens_of_peaks(subject, active)
    for_writing = [_joined(example.tokens) for example in (*subject.by_token.train, *subject.by_token.random)]
    texts: dict[str, JudgedText] = {}
    for example in subject.by_token.test:
        if (source := text_key(example)) not in written_from:
            for start, piece in _pieces(example, source, active, shared, n_tokens):
                own = _joined(example.tokens[start : start + len(piece.tokens)])
                if len(piece.tokens) < SHORTEST_RUN or not any(own in text for text in for_writing):
                    texts.setdefault(piece.text.strip(), piece)
    texts.pop("", None)
    return list(texts.values())


def interval_by_source(
    measure: Callable[[NDArray[np.int64]], float], texts: Sequence[JudgedText]
) -> tuple[float, float]:
    """The interval of a measure where whole texts are drawn anew: the pieces of one text go together.

    Args:
        measure: gives its value for the numbers of some of the pieces.
        texts: the pieces.
    """
    pieces: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        pieces.setdefault(text.source, []).append(number)
    of_sources = [np.array(numbers) for numbers in pieces.values()]

    def of(drawn: NDArray[np.int64]) -> float:
        return measure(np.concatenate([of_sources[source] for source in drawn]))

    return bootstrap_interval(of, len(of_sources))


def _tokens_of_peaks(subject: Subject, active: float) -> frozenset[str]:
    """The tokens, as words, on which the component is active; at most the highest of each of its top examples."""
    found = set()
    for example in (*subject.by_token.train, *subject.by_token.test):
        peak = int(np.argmax(example.activations))
        if example.activations[peak] >= active:
            found.add(_as_word(example.tokens[peak]))
    return frozenset(found - {""})


def _as_word(token: str) -> str:
    return as_word(token[:MOST_CHARACTERS_OF_TOKEN])


def _pieces(
    example: ActivationRecord, source: str, active: float, shared: frozenset[str], n_tokens: int
) -> Iterator[tuple[int, JudgedText]]:
    """The pieces of a text, each with its place."""
    words = [_as_word(token) for token in example.tokens]
    peak = int(np.argmax(example.activations))
    if example.activations[peak] < active:
        peak = next((place for place, word in enumerate(words) if word in shared), len(words) // 2)
    for start, end in _spans(peak, len(words), n_tokens):
        is_positive = max(example.activations[start:end]) >= active
        low: TextKind = "random" if shared.isdisjoint(words[start:end]) else "near miss"
        tokens = tuple(token[:MOST_CHARACTERS_OF_TOKEN] for token in example.tokens[start:end])
        kind: TextKind = "positive" if is_positive else low
        yield start, JudgedText(tokens, tuple(example.activations[start:end]), kind, source)


def _joined(tokens: Sequence[str]) -> str:
    """Tokens as one text in which each begins and ends for itself."""
    return "".join(f"\x00{token}\x00" for token in tokens)


def _spans(middle: int, n_all: int, n: int) -> Iterator[tuple[int, int]]:
    """From where to where pieces go: one around a place, and those before and after it."""
    start = max(0, min(middle - n // 2, n_all - n))
    yield start, min(n_all, start + n)
    shortest = math.ceil(n / 2)
    for end in range(start, 0, -n):
        if end - max(0, end - n) >= shortest:
            yield max(0, end - n), end
    for begin in range(start + n, n_all, n):
        if min(n_all, begin + n) - begin >= shortest:
            yield begin, min(n_all, begin + n)
