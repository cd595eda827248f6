"""What a packed neuron dataset is made of, and the rules that its arrays keep.

A folder holds `dataset.json` (DatasetInfo), `tokens.json` (the token strings, by id) and one `layer_{L}.safetensors` a
layer, whose tensors are PackedLayer's arrays: the token sequences once, and for every component the places in them that
it is shown at, so that one record is a slice of a few KB.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import n_pairs

FORMAT_VERSION = 1
INFO_FILE_NAME = "dataset.json"
TOKENS_FILE_NAME = "tokens.json"
MOMENTS = ("mean", "variance", "skewness", "kurtosis")


def layer_file_name(layer: int) -> str:
    """The name of a layer's file in the dataset's folder."""
    return f"layer_{layer}.safetensors"


class DatasetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `dataset.json` says.

    Attributes:
        model: the model's name, as `load_model` takes it where that is possible.
        derived_scalar_type: the value of the DerivedScalarType that the activations are of.
        short_name: what the registry knows the dataset as, unless told another name.
        user_visible_name: a line for people.
        n_layers: how many layers the model has.
        layer_indices: those that the dataset covers.
        n_components: how many neurons, heads or latents a layer has.
        context_length: the longest sequence, in tokens.
        dimensions: the names of the activations' axes, as DerivedScalarType has them.
        tokenizer_hash: SHA-256 of the tokenizer's file, in hex; None if unknown.
        corpus: where the text is from, for people.
        is_by_token_pair: whether activations are one a token pair.
        attended_window: how many tokens a token attends to at most; None: all before it. Only by token pair.
        provenance: how the dataset was made: settings, versions, counts; anything JSON can hold.
        format_version: of this layout.
    """

    model: str
    derived_scalar_type: str
    short_name: str
    user_visible_name: str
    n_layers: int
    layer_indices: list[int]
    n_components: int
    context_length: int
    is_by_token_pair: bool = False
    attended_window: int | None = None
    dimensions: list[str] = []
    tokenizer_hash: str | None = None
    corpus: str = ""
    provenance: dict[str, Any] = {}
    format_version: int = FORMAT_VERSION

    def n_activations(self, n_tokens: int) -> int:
        """How many activations an example of this many tokens has."""
        return n_pairs(n_tokens, self.attended_window) if self.is_by_token_pair else n_tokens


@dataclass(frozen=True)
class PackedExamples:
    """The examples of one kind, of every component.

    The leading axes are (components, examples), or (components, buckets, examples) for quantile examples. Integers may
    also be int16, which keeps small datasets small.

    Attributes:
        sequence: int32; which of the layer's sequences the example is from; -1: there is no such example.
        start: int32; where in the sequence the example's window begins.
        length: int32; how many tokens the window has.
        activations: float16 or float32, one more axis as long as the largest window's activations: what the component
            did in the window, one a token or one a token pair of the window; what lies beyond its end is not read.
    """

    sequence: NDArray[np.int16] | NDArray[np.int32]
    start: NDArray[np.int16] | NDArray[np.int32]
    length: NDArray[np.int16] | NDArray[np.int32]
    activations: NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True)
class PackedLayer:
    """The arrays of one layer. Where int32 stands int16 will do as well, and where int64 stands int32.

    Attributes:
        sequences: int32 (sequences, context); token ids, what lies beyond a sequence's length is not read.
        sequence_lengths: int32 (sequences,).
        top: (components, examples) examples, the highest peak first.
        random: (components, examples) examples.
        quantile: (components, buckets, examples) examples, or None.
        quantile_boundaries: float32 (components, boundaries), or None; it comes with `quantile`.
        moments: float64 (components, 4), in the order of MOMENTS; NaN: not known.
        activation_frequency: float64 (components,), NaN: not known; or None.
        histogram_counts: int64 (components, bins), or None.
        histogram_edges: float32 (components, bins + 1), or None; it comes with `histogram_counts`.
    """

    sequences: NDArray[np.int16] | NDArray[np.int32]
    sequence_lengths: NDArray[np.int16] | NDArray[np.int32]
    top: PackedExamples
    random: PackedExamples
    moments: NDArray[np.float64]
    quantile: PackedExamples | None = None
    quantile_boundaries: NDArray[np.float32] | None = None
    activation_frequency: NDArray[np.float64] | None = None
    histogram_counts: NDArray[np.int32] | NDArray[np.int64] | None = None
    histogram_edges: NDArray[np.float32] | None = None

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by the names that the layer's file has them under."""
        tensors: dict[str, NDArray[Any]] = {
            "sequences": self.sequences,
            "sequence_lengths": self.sequence_lengths,
            "moments": self.moments,
        }
        for group, examples in self.groups().items():
            for part in ("sequence", "start", "length", "activations"):
                tensors[f"{group}_{part}"] = getattr(examples, part)
        for name in ("quantile_boundaries", "activation_frequency", "histogram_counts", "histogram_edges"):
            if (array := getattr(self, name)) is not None:
                tensors[name] = array
        return tensors

    def groups(self) -> dict[str, PackedExamples]:
        """The kinds of examples that there are: "top", "random" and perhaps "quantile"."""
        groups = {"top": self.top, "random": self.random}
        return groups if self.quantile is None else groups | {"quantile": self.quantile}


TensorDescription = tuple[str, tuple[int, ...]]
"""A tensor's dtype, as numpy names it, and its shape."""

_MOST_EXAMPLES = 100_000
_MOST_SEQUENCES = 100_000_000


def layout_problem(tensors: dict[str, TensorDescription], info: DatasetInfo) -> str | None:
    """What is wrong with the names, dtypes and shapes of a layer's tensors; None if nothing is."""
    for name, (dtypes, shape) in _expected(tensors, info).items():
        if name not in tensors:
            return f"it has no tensor {name!r}"
        found_dtype, found_shape = tensors[name]
        if found_dtype not in dtypes.split():
            return f"its {name!r} is {found_dtype}, not {' or '.join(dtypes.split())}"
        if not _fits(found_shape, shape):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            return f"its {name!r} is {found_shape}, not ({wanted})"
    if tensors["sequences"][1][0] > _MOST_SEQUENCES:
        return f"it has over {_MOST_SEQUENCES:,} sequences"
    for group in _GROUPS:
        examples = tensors.get(f"{group}_sequence", ("", ()))[1]
        if math.prod(examples[1:]) > _MOST_EXAMPLES:
            return f"its {group!r} examples are {examples}: over {_MOST_EXAMPLES:,} a component"
        widest = info.n_activations(info.context_length)
        if group in _groups_in(tensors) and tensors[f"{group}_activations"][1][-1] > widest:
            return f"its '{group}_activations' are wider than a whole sequence's {widest}"
    return None


_GROUPS = ("top", "random", "quantile")
_INTEGERS = "int16 int32"
_COUNTS = "int32 int64"
_Expected = dict[str, tuple[str, tuple[int | None, ...]]]


def _groups_in(tensors: dict[str, TensorDescription]) -> list[str]:
    return [group for group in _GROUPS if group != "quantile" or "quantile_sequence" in tensors]


def _expected(tensors: dict[str, TensorDescription], info: DatasetInfo) -> _Expected:
    """For each tensor that must be there beside those that are: the dtypes it may have, and its shape; None: any."""

    def shape(name: str) -> tuple[int, ...]:
        return tensors[name][1] if name in tensors else ()

    components = info.n_components
    expected: _Expected = {
        "sequences": (_INTEGERS, (None, info.context_length)),
        "sequence_lengths": (_INTEGERS, shape("sequences")[:1]),
        "moments": ("float64", (components, len(MOMENTS))),
    }
    for group in _groups_in(tensors):
        examples = shape(f"{group}_sequence")
        buckets = (None,) if group == "quantile" else ()
        expected |= {
            f"{group}_sequence": (_INTEGERS, (components, *buckets, None)),
            f"{group}_start": (_INTEGERS, examples),
            f"{group}_length": (_INTEGERS, examples),
            f"{group}_activations": ("float16 float32", (*examples, None)),
        }
    if "quantile_sequence" in tensors or "quantile_boundaries" in tensors:
        expected["quantile_boundaries"] = ("float32", (components, None))
        expected.setdefault("quantile_sequence", (_INTEGERS, (components, None, None)))
    if "activation_frequency" in tensors:
        expected["activation_frequency"] = ("float64", (components,))
    if "histogram_counts" in tensors or "histogram_edges" in tensors:
        bins = shape("histogram_counts")[-1:] or (0,)
        expected["histogram_counts"] = (_COUNTS, (components, None))
        expected["histogram_edges"] = ("float32", (components, bins[0] + 1))
    return expected


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )


def example_problem(
    examples: PackedExamples, sequence_lengths: NDArray[np.int16] | NDArray[np.int32], info: DatasetInfo
) -> str | None:
    """What is wrong with where examples say they are from, for any leading axes; None if nothing is."""
    present = examples.sequence != -1
    sequence, start, length = (
        array[present].astype(np.int64) for array in (examples.sequence, examples.start, examples.length)
    )
    if np.any((sequence < 0) | (sequence >= len(sequence_lengths))):
        return f"an example is from a sequence that is not one of the {len(sequence_lengths)}"
    lengths = sequence_lengths[sequence]
    if np.any((start < 0) | (length < 1) | (start + length > lengths) | (lengths > info.context_length)):
        return "an example's window does not lie within its sequence"
    longest = int(length.max(initial=0))
    if info.n_activations(longest) > examples.activations.shape[-1]:
        return f"an example of {longest} tokens has {examples.activations.shape[-1]} activations"
    return None
