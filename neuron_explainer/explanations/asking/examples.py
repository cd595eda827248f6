"""The examples that explanations are written from, calibrated with, chosen and scored by: no text is in two parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.records import NeuronRecord


@dataclass(frozen=True)
class HeldOutExamples:
    """A record's examples in four parts that share no text.

    The parts are those of `NeuronRecord`: every fourth top example for each, and every third random one for all but
    the first. A text that is in an earlier part is left out of the later ones.

    Attributes:
        train: what an explanation is written from: top examples alone.
        calibration: what a simulation is calibrated with.
        valid: what explanations are chosen by.
        test: what they are scored by.
        random: the random examples that are neither in `train` nor in `test`: near misses and others, for who writes.
    """

    train: tuple[ActivationRecord, ...]
    calibration: tuple[ActivationRecord, ...]
    valid: tuple[ActivationRecord, ...]
    test: tuple[ActivationRecord, ...]
    random: tuple[ActivationRecord, ...]

    @classmethod
    def of(cls, record: NeuronRecord) -> HeldOutExamples:
        """The parts of a record."""
        seen: set[str] = set()
        train = _new(record.train_activation_records(), seen)
        calibration = _new(record.calibration_activation_records(), seen)
        valid = _new(record.valid_activation_records(), seen)
        test = _new(record.test_activation_records(), seen)
        random = _new(record.random_sample, set(map(text_key, (*train, *test))))
        return cls(train, calibration, valid, test, random)


def by_token(example: ActivationRecord) -> ActivationRecord:
    """The example with one activation for each token; of pairs, the strongest of those that the token attends from."""
    if not example.is_by_token_pair:
        return example
    matrix = unflatten(example.activations, len(example.tokens))
    return ActivationRecord(example.tokens, np.nanmax(matrix, axis=1).tolist())


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


def _new(examples: Iterable[ActivationRecord], seen: set[str]) -> tuple[ActivationRecord, ...]:
    """Those whose text was not seen before; they are seen then."""
    found = []
    for example in examples:
        key = text_key(example)
        if key not in seen and example.tokens:
            seen.add(key)
            found.append(example)
    return tuple(found)
