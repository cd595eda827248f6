"""How a record's examples are divided into splits: to explain a neuron from, to calibrate, to choose and to score."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.checks import checked_number, checked_type

TOP_SPLITS = ("train", "calibration", "valid", "test")
RANDOM_SPLITS = ("calibration", "valid", "test")


@dataclass(frozen=True)
class ActivationRecordSliceParams:
    """How large the splits of a record's examples are.

    Attributes:
        n_examples_per_split: how many top examples, and how many random examples, each split takes; None: as many as
            possible with all splits of one size.
    """

    n_examples_per_split: int | None = None


def split_of(
    top: Sequence[ActivationRecord],
    random: Sequence[ActivationRecord],
    split: str,
    params: ActivationRecordSliceParams | None,
) -> list[ActivationRecord]:
    """One split: its share of the top examples, then its share of the random ones ("train" has none).

    Raises:
        InvalidRequestError: the record has too few examples for splits of the size that `params` asks for.
    """
    size = None
    if params is not None:
        asked = checked_type("params", params, ActivationRecordSliceParams).n_examples_per_split
        size = None if asked is None else checked_number("n_examples_per_split", asked, 0)
    chosen = _every_nth(top, TOP_SPLITS, split, size, "top")
    if split in RANDOM_SPLITS:
        chosen += _every_nth(random, RANDOM_SPLITS, split, size, "random")
    return chosen


def _every_nth(
    examples: Sequence[ActivationRecord], splits: Sequence[str], split: str, size: int | None, kind: str
) -> list[ActivationRecord]:
    """A split's interleaved share of the examples; a remainder that does not divide evenly is in no split."""
    stride = len(splits)
    if size is None:
        size = len(examples) // stride
    if size * stride > len(examples):
        raise InvalidRequestError(
            f"n_examples_per_split is {size}, but {stride} splits share the record's {kind} examples "
            f"({len(examples)}). Choose 0 to {len(examples) // stride}."
        )
    return list(examples[splits.index(split) : size * stride : stride])
