"""The examples that explanations are written from, calibrated with, chosen and scored by: no text is in two parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.explanations.asking.overlaps import SeenTexts


@dataclass(frozen=True)
class HeldOutExamples:
    """A record's examples in four parts that share no text.

    The parts are those of `NeuronRecord`: every fourth top example for each, and every third random one for all but
    the first. A text that is in an earlier part is left out of the later ones; so is one that shares a piece with one
    there, of at least eight tokens and half of the shorter text: as overlapping windows of a document do.

    Attributes:
        train: what an explanation is written from: top examples alone.
        calibration: what a simulation is calibrated with.
        valid: what explanations are chosen by.
        test: what they are scored by.
        random: the random examples that are neither in `train` nor in `test`, and share no such piece with those: near
            misses and others, for who writes.
    """

    train: tuple[ActivationRecord, ...]
    calibration: tuple[ActivationRecord, ...]
    valid: tuple[ActivationRecord, ...]
    test: tuple[ActivationRecord, ...]
    random: tuple[ActivationRecord, ...]

    @classmethod
    def of(cls, record: NeuronRecord) -> HeldOutExamples:
        """The parts of a record."""
        seen = _Seen()
        train = seen.new(record.train_activation_records())
        calibration = seen.new(record.calibration_activation_records())
        valid = seen.new(record.valid_activation_records())
        test = seen.new(record.test_activation_records())
        return cls(train, calibration, valid, test, _Seen((*train, *test)).new(record.random_sample))


def by_token(example: ActivationRecord) -> ActivationRecord:
    """The example with one activation for each token; of pairs, the strongest of those that the token attends from."""
    if not example.is_by_token_pair:
        return example
    matrix = unflatten(example.activations, len(example.tokens))
    return ActivationRecord(example.tokens, np.nanmax(matrix, axis=1).tolist())


def as_word(token: str) -> str:
    """A token as a word: without spaces around it, whatever its case."""
    return token.strip().casefold()


def text_key(example: ActivationRecord) -> str:
    """What texts are told apart by: a digest of the tokens."""
    return key_of_tokens(example.tokens)


def key_of_tokens(tokens: Sequence[str]) -> str:
    """A digest of the tokens of a text."""
    digest = hashlib.sha256()
    for token in tokens:
        own = token.encode()
        digest.update(b"%d:" % len(own) + own)
    return digest.hexdigest()


class _Seen:
    """The examples of the parts so far."""

    def __init__(self, examples: Iterable[ActivationRecord] = ()) -> None:
        several = list(examples)
        self._keys = set(map(text_key, several))
        self._texts = SeenTexts(example.tokens for example in several)

    def new(self, examples: Iterable[ActivationRecord]) -> tuple[ActivationRecord, ...]:
        """The next part: those whose text was not seen, and shares no piece with one of an earlier part."""
        found = []
        for example in examples:
            key = text_key(example)
            if example.tokens and key not in self._keys and not self._texts.shares(example.tokens):
                self._keys.add(key)
                found.append(example)
        self._texts.add(example.tokens for example in found)
        return tuple(found)
