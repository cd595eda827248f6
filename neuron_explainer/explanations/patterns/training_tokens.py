"""The tokens that patterns are learnt from: those of the examples for writing, and of random ones as contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.subject import Subject

MOST_TOKENS = 4_000
"""How many tokens are looked at; of more, the highest and, evenly, others."""
SHARE_OF_TOP = 0.5


@dataclass(frozen=True, eq=False)
class TrainingTokens:
    """Tokens with their texts and activations.

    Attributes:
        texts: the texts, token by token.
        text: the text of each token, as its number; (n,).
        position: its position in the text; (n,).
        activation: the component's activation there; (n,).
        top: the height that high activations are measured by: the median of the top examples' highest.
        written_from: the digests of the texts.
    """

    texts: list[list[str]]
    text: NDArray[np.int64]
    position: NDArray[np.int64]
    activation: NDArray[np.float64]
    top: float
    written_from: frozenset[str]

    @classmethod
    def of(cls, subject: Subject) -> TrainingTokens:
        """The tokens of a component's examples.

        Raises:
            InvalidRequestError: it has no examples to explain it by.
        """
        _ = subject.highest  # which refuses a component without examples
        train, random = subject.by_token.train, subject.by_token.random
        examples = (*train, *random)
        lengths = [len(example.tokens) for example in examples]
        text = np.repeat(np.arange(len(examples)), lengths)
        position = np.concatenate([np.arange(length) for length in lengths])
        activation = np.concatenate([np.asarray(example.activations, np.float64) for example in examples])
        peaks = [peak for example in train if (peak := example.max_activation) is not None and peak > 0]
        kept = _kept(activation)
        return cls(
            [example.tokens for example in examples],
            text[kept],
            position[kept],
            activation[kept],
            float(np.median(peaks)),
            frozenset(map(text_key, (*subject.examples.train, *subject.examples.random))),
        )

    @property
    def is_high(self) -> NDArray[np.bool_]:
        """Which activations are high: at least half of the top; (n,)."""
        return self.activation >= SHARE_OF_TOP * self.top

    @property
    def base(self) -> float:
        """The mean of the activations that are not high; 0 if there are none."""
        low = self.activation[~self.is_high]
        return float(low.mean()) if len(low) else 0.0

    def token(self, number: int) -> str:
        """The token itself."""
        return self.texts[self.text[number]][self.position[number]]


def _kept(activation: NDArray[np.float64]) -> NDArray[np.int64]:
    """The numbers of the tokens that are looked at, ascending."""
    n = len(activation)
    if n <= MOST_TOKENS:
        return np.arange(n)
    highest = np.argpartition(-activation, MOST_TOKENS // 4)[: MOST_TOKENS // 4]
    others = np.linspace(0, n - 1, MOST_TOKENS - len(highest)).astype(np.int64)
    return np.unique(np.concatenate([highest, others]))
