"""A component's stored examples with their places in the texts, so that no token is counted twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import unflatten
from neuron_explainer.activations.records import ActivationRecord, NeuronRecord
from neuron_explainer.errors import UnknownNameError

if TYPE_CHECKING:
    from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

ExamplesUsed = Literal["all", "top", "random"]
"""Which stored examples: all, the top ones, or those drawn at random from the whole corpus."""
EXAMPLES_USED: tuple[ExamplesUsed, ...] = ("all", "top", "random")


@dataclass(frozen=True)
class StoredExample:
    """An example, and where it lies.

    Attributes:
        kind: "top", "random" or "quantile".
        sequence: which sequence of the dataset it is from; None if the dataset does not say it.
        start: the position of its first token in that sequence; 0 if that is not known.
        example: its tokens and activations.
    """

    kind: str
    sequence: int | None
    start: int
    example: ActivationRecord


def stored_examples(
    record: NeuronRecord, dataset: str | None = None, dst: DerivedScalarType | None = None
) -> list[StoredExample]:
    """The examples of a record, in its order; with their places if the dataset is a packed one.

    Raises:
        MalformedDatasetError: the dataset's file is invalid.
    """
    places = iter(_places(record, dataset, dst))
    found = []
    for kind, _, _, example in record.examples():
        sequence, start = next(places, (None, 0))
        found.append(StoredExample(kind, sequence, start, example))
    return found


def _places(
    record: NeuronRecord, dataset: str | None, dst: DerivedScalarType | None
) -> Iterator[tuple[int | None, int]]:
    """The sequence and start of each example; nothing for a dataset that does not say them."""
    from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
    from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
    from neuron_explainer.storage.locations import is_url

    if dataset is None or dst is None:
        return
    path = resolve_neuron_dataset(dataset, dst)
    if is_url(path) or not is_packed_dataset(path):
        return
    reader = open_packed_dataset(os.fspath(path)).layer_reader(record.neuron_id.layer_index)
    for windows in reader.windows(record.neuron_id.neuron_index).values():
        yield from ((window.sequence, window.start) for window in windows)


def used(examples: list[StoredExample], which: str) -> list[StoredExample]:
    """Those of the examples that are meant.

    Raises:
        UnknownNameError: `which` is none of EXAMPLES_USED.
    """
    if which not in EXAMPLES_USED:
        raise UnknownNameError("kind of examples", str(which), EXAMPLES_USED)
    return [each for each in examples if which in ("all", each.kind)]


@dataclass(frozen=True)
class TokensOfExamples:
    """The tokens of examples, each place in the texts once.

    Attributes:
        tokens: their texts; (tokens,).
        positions: their places in their sequences, or examples; (tokens,).
        values: the activation at each; of token pairs, the largest of those in which the token attends; (tokens,).
    """

    tokens: list[str]
    positions: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, examples: list[StoredExample]) -> TokensOfExamples:
        """The tokens of some examples."""
        seen: dict[object, set[int]] = {}
        tokens: list[str] = []
        positions: list[int] = []
        values: list[float] = []
        for each in examples:
            by_token = values_by_token(each.example)
            # Without places, an example that stands twice (among the top ones and at random) is the same text again.
            text = None if each.sequence is not None else (tuple(each.example.tokens), tuple(by_token.tolist()))
            before = seen.setdefault(text if each.sequence is None else each.sequence, set())
            places = range(each.start, each.start + len(each.example.tokens))
            new = [number for number, place in enumerate(places) if place not in before] if before else None
            if new is None:  # nearly always: no other example overlaps
                tokens += each.example.tokens
                positions += places
                values += by_token.tolist()
            else:
                tokens += [each.example.tokens[number] for number in new]
                positions += [places[number] for number in new]
                values += [float(by_token[number]) for number in new]
            before.update(places)
        return cls(tokens, np.array(positions, dtype=np.int64), np.array(values, dtype=np.float64))


def values_by_token(example: ActivationRecord) -> NDArray[np.float64]:
    """One activation for each token of an example; of token pairs, the largest in which the token attends."""
    if not example.is_by_token_pair:
        return np.asarray(example.activations, dtype=np.float64)
    square = np.asarray(unflatten(example.activations, len(example.tokens)), dtype=np.float64)
    return np.nanmax(np.where(np.isnan(square), -np.inf, square), axis=1)
