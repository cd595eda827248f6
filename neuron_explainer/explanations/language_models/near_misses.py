"""Texts on which a component is not active, although they have tokens on which it is active elsewhere."""

from __future__ import annotations

import numpy as np

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.explanations.asking.examples import as_word
from neuron_explainer.explanations.asking.subject import Subject

ACTIVE_FROM, LOW_UNTIL = 0.5, 0.2
"""Shares of the highest activation: from which on a token is one of the peaks, and up to which a text is low."""


def near_misses(subject: Subject, n: int) -> list[tuple[ActivationRecord, int]]:
    """The near misses among the random examples that are for writing, each with the place of such a token.

    Args:
        subject: the component. The tokens are those of its examples for writing on which the activation is at least
            half of the highest; capitals and spaces around them do not matter. An example is low whose highest
            activation is at most a fifth of that.
        n: at most how many; those with different tokens are first.
    """
    highest = subject.highest
    peaks = {
        as_word(token)
        for example in subject.by_token.train
        for token, value in zip(example.tokens, example.activations, strict=True)
        if value >= ACTIVE_FROM * highest
    } - {""}
    found: list[tuple[ActivationRecord, int, str]] = []
    for whole, example in zip(subject.examples.random, subject.by_token.random, strict=True):
        if max(example.activations) > LOW_UNTIL * highest:
            continue
        places = [place for place, token in enumerate(example.tokens) if as_word(token) in peaks]
        if places:
            place = places[int(np.argmin([example.activations[each] for each in places]))]
            found.append((whole, place, as_word(example.tokens[place])))
    seen: dict[str, int] = {}
    ranked = []
    for whole, place, word in found:
        ranked.append((seen.get(word, 0), whole, place))
        seen[word] = seen.get(word, 0) + 1
    ranked.sort(key=lambda each: each[0])
    return [(whole, place) for _, whole, place in ranked[:n]]
