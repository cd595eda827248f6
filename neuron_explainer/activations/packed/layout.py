"""The files and arrays of a packed neuron dataset.

A folder holds `dataset.json` (DatasetInfo), `tokens.json` (the token strings, by id) and one `layer_{L}.safetensors`
per layer. A layer's tensors are the arrays of PackedLayer. The token sequences are stored once; each example of a
component names a sequence and a window of it. So one record is a slice of a few KB.

`rules` says what the arrays must satisfy.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.attention_utils import n_pairs

FORMAT_VERSION = 1
INFO_FILE_NAME = "dataset.json"
TOKENS_FILE_NAME = "tokens.json"
JSON_INFO_FILE_NAME = "collated.json"
"""The same description beside JSON files that `collate` made; the public JSON layout has no such file."""
MOST_INFO_BYTES = 16 * 2**20
MOMENTS = ("mean", "variance", "skewness", "kurtosis")


def layer_file_name(layer: int) -> str:
    """The name of a layer's file in the dataset's folder.

    >>> layer_file_name(3)
    'layer_3.safetensors'
    """
    return f"layer_{layer}.safetensors"


class DatasetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of `dataset.json`.

    Attributes:
        model: the model's name; one that `load_model` takes, if possible.
        derived_scalar_type: the value of the DerivedScalarType that the activations are of.
        short_name: the dataset's name in the registry, unless another one is given.
        user_visible_name: a title for people.
        n_layers: how many layers the model has.
        layer_indices: the layers that the dataset covers.
        n_components: how many neurons, heads or latents each layer has.
        context_length: the length of the longest sequence, in tokens.
        is_by_token_pair: whether there is one activation per token pair, not one per token.
        attended_window: how many tokens of an example are attended to, the first ones; None: all. Only for token pairs.
        dimensions: the names of the activations' axes, as in DerivedScalarType.
        tokenizer_hash: SHA-256 of the tokenizer's file, in hex; None if unknown.
        corpus: the source of the text, for people.
        provenance: how the dataset was made: settings, versions, counts; any JSON object.
        format_version: the version of this layout.
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
        """The number of activations of an example of this many tokens."""
        return n_pairs(n_tokens, self.attended_window) if self.is_by_token_pair else n_tokens


@dataclass(frozen=True)
class PackedExamples:
    """The examples of one kind ("top", "random" or "quantile") of every component of a layer.

    The leading axes are (components, examples), or (components, buckets, examples) for quantile examples. Integers may
    also be int16, to keep small datasets small.

    Attributes:
        sequence: int32; the index of the sequence that the example is from; -1 for an unused entry.
        start: int32; the position in the sequence at which the example's window begins.
        length: int32; the number of tokens in the window.
        activations: float16 or float32, with one more axis, as long as the largest window needs: the component's
            activations in the window, one per token or per token pair. Values beyond a window's own are not read.
    """

    sequence: NDArray[np.int16] | NDArray[np.int32]
    start: NDArray[np.int16] | NDArray[np.int32]
    length: NDArray[np.int16] | NDArray[np.int32]
    activations: NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True)
class PackedLayer:
    """The arrays of one layer. int16 is allowed for int32, and int32 for int64.

    Attributes:
        sequences: int32 (sequences, context); token ids. Values beyond a sequence's length are not read.
        sequence_lengths: int32 (sequences,).
        top: examples, (components, examples), the highest peak first.
        random: examples, (components, examples).
        quantile: examples, (components, buckets, examples); or None.
        quantile_boundaries: float32 (components, boundaries); present if `quantile` is, or None.
        moments: float64 (components, 4), in the order of MOMENTS; NaN if unknown.
        activation_frequency: float64 (components,), NaN if unknown; or None.
        histogram_counts: int64 (components, bins); or None.
        histogram_edges: float32 (components, bins + 1); present if `histogram_counts` is, or None.
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
        """The arrays by their tensor names in the layer's file."""
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
        """The examples by kind: "top", "random" and, if present, "quantile"."""
        groups = {"top": self.top, "random": self.random}
        return groups if self.quantile is None else groups | {"quantile": self.quantile}
