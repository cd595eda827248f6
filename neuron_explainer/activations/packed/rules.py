"""The rules that the arrays of a packed neuron dataset satisfy, checked when they are written and when they are read.

Each function returns the first problem in words that end an error's message; None if all is well.
"""

import math

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.packed.layout import (
    FORMAT_VERSION,
    MOMENTS,
    TOKENS_FILE_NAME,
    DatasetInfo,
    PackedExamples,
    PackedLayer,
)

TensorDescription = tuple[str, tuple[int, ...]]
"""A tensor's dtype, as numpy names it, and its shape."""

_MOST_EXAMPLES = 100_000
_MOST_SEQUENCES = 100_000_000


def layout_problem(tensors: dict[str, TensorDescription], info: DatasetInfo) -> str | None:
    """The first problem with the names, dtypes and shapes of a layer's tensors; None if they are valid."""
    for name, (dtypes, shape) in _expected(tensors, info).items():
        if name not in tensors:
            return f"it lacks the tensor {name!r}"
        found_dtype, found_shape = tensors[name]
        if found_dtype not in dtypes.split():
            return f"its tensor {name!r} has the dtype {found_dtype}, not {' or '.join(dtypes.split())}"
        if not _fits(found_shape, shape):
            allowed = ", ".join("any" if size is None else str(size) for size in shape)
            return f"its tensor {name!r} has the shape {found_shape}, not ({allowed})"
    if tensors["sequences"][1][0] > _MOST_SEQUENCES:
        return f"it has more than {_MOST_SEQUENCES:,} sequences"
    for group in _GROUPS:
        examples = tensors.get(f"{group}_sequence", ("", ()))[1]
        if math.prod(examples[1:]) > _MOST_EXAMPLES:
            return f"its {group} examples have the shape {examples}: more than {_MOST_EXAMPLES:,} per component"
        widest = info.n_activations(info.context_length)
        if group in _groups_in(tensors) and tensors[f"{group}_activations"][1][-1] > widest:
            return f"its tensor '{group}_activations' has more than {widest} activations per example"
    return None


_GROUPS = ("top", "random", "quantile")
_INTEGERS = "int16 int32"
_COUNTS = "int32 int64"
_Expected = dict[str, tuple[str, tuple[int | None, ...]]]


def _groups_in(tensors: dict[str, TensorDescription]) -> list[str]:
    return [group for group in _GROUPS if group != "quantile" or "quantile_sequence" in tensors]


def _expected(tensors: dict[str, TensorDescription], info: DatasetInfo) -> _Expected:
    """The dtypes and the shape of each tensor that the file must have, given its tensors. A length of None: any."""

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
        length is None or size == length for size, length in zip(shape, expected, strict=True)
    )


def example_problem(
    examples: PackedExamples, sequence_lengths: NDArray[np.int16] | NDArray[np.int32], info: DatasetInfo
) -> str | None:
    """The first problem with the sequences and windows of examples, for any leading axes; None if they are valid."""
    present = examples.sequence != -1
    sequence, start, length = (
        array[present].astype(np.int64) for array in (examples.sequence, examples.start, examples.length)
    )
    if np.any((sequence < 0) | (sequence >= len(sequence_lengths))):
        return f"an example names a sequence that does not exist (there are {len(sequence_lengths)})"
    lengths = sequence_lengths[sequence]
    if np.any((start < 0) | (length < 1) | (start + length > lengths) | (lengths > info.context_length)):
        return "an example's window exceeds its sequence"
    longest = int(length.max(initial=0))
    if info.n_activations(longest) > examples.activations.shape[-1]:
        n_activations = examples.activations.shape[-1]
        return f"an example has too few activations ({n_activations}) for its number of tokens ({longest})"
    return None


def values_problem(layer: PackedLayer, info: DatasetInfo, n_token_strings: int) -> str | None:
    """The first problem with the values of a layer's arrays; None if they are valid."""
    lengths = layer.sequence_lengths
    if np.any((lengths < 0) | (lengths > info.context_length)):
        return f"a sequence has a length that is not from 0 to {info.context_length}"
    is_within = np.arange(info.context_length) < lengths[:, None]
    if np.any(is_within & ((layer.sequences < 0) | (layer.sequences >= n_token_strings))):
        return f"a token id is not from 0 to {n_token_strings - 1}, as in {TOKENS_FILE_NAME}"
    for kind, examples in layer.groups().items():
        if problem := example_problem(examples, lengths, info):
            return f"{kind} examples: {problem}"
        if not _all_finite(examples.activations):
            dtype = examples.activations.dtype
            return f"{kind} examples: an activation is not finite in {dtype} (float32 holds larger values than float16)"
    for name in ("quantile_boundaries", "histogram_edges"):
        array = getattr(layer, name)
        if array is not None and not np.isfinite(array).all():
            return f"{name} must all be finite"
    return None


def _all_finite(activations: NDArray[np.float16] | NDArray[np.float32]) -> bool:
    if activations.dtype != np.float16:
        return bool(np.isfinite(activations).all())
    exponent = activations.view(np.int16) & 0x7C00  # numpy would widen each number, which takes ten times as long
    return bool((exponent != 0x7C00).all())


def info_problem(info: DatasetInfo) -> str | None:
    """The first problem with the contents of `dataset.json`; None if they are valid."""
    if info.format_version != FORMAT_VERSION:
        return f"its format_version is {info.format_version}; this library reads version {FORMAT_VERSION}"
    for name in ("n_layers", "n_components", "context_length"):
        if not 1 <= getattr(info, name) < 2**31:
            return f"its {name} is {getattr(info, name)}, not from 1 to {2**31 - 1}"
    outside = [layer for layer in info.layer_indices if not 0 <= layer < info.n_layers]
    if outside or len(set(info.layer_indices)) != len(info.layer_indices):
        return f"its layer_indices are {info.layer_indices}; they must be distinct, from 0 to {info.n_layers - 1}"
    if info.attended_window is not None and not (info.is_by_token_pair and info.attended_window >= 1):
        return (
            f"its attended_window is {info.attended_window} and its is_by_token_pair is {info.is_by_token_pair}; "
            "a window must be at least 1, and is only for token pairs"
        )
    return None
