"""What the tensors of a saved collation must be, checked before they are used."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from neuron_explainer.collation.statistics.layer_state import LayerState
from neuron_explainer.errors import CollateError


def check_layer(named: Mapping[str, Tensor], expected: LayerState) -> None:
    """Refuse the tensors of a layer that a collation with these settings cannot have made.

    Args:
        named: the tensors by name.
        expected: the layer's state without sequences; its tensors may be on the meta device.

    Raises:
        CollateError: a tensor is missing, or has another shape or dtype.
    """
    for name, tensor in expected.tensors().items():
        found = named.get(name)
        if found is None or found.dtype != tensor.dtype or found.shape != tensor.shape:
            raise _refused(f"{name!r} of layer {expected.layer} is missing, or has another shape or dtype")


def check_sequences(named: Mapping[str, Tensor]) -> None:
    """Refuse the tensors of a table of sequences that do not fit each other.

    Raises:
        CollateError: a tensor is missing, or has another shape or dtype than it must have.
    """
    expected = {"number": torch.int64, "length": torch.int32, "tokens": torch.int32}
    for name, dtype in expected.items():
        if name not in named or named[name].dtype != dtype or named[name].ndim != 1:
            raise _refused(f"its sequences' {name!r} are missing, or have another shape or dtype")
    number, length, tokens = (named[name] for name in expected)
    if len(number) != len(length) or bool((length < 0).any()) or int(length.sum()) != len(tokens):
        raise _refused("the lengths of its sequences do not fit their tokens")


def check_values(layers: Iterable[LayerState], known: Iterable[int]) -> None:
    """Refuse histograms with bins that do not fit their range, and examples from sequences that the table lacks.

    Args:
        layers: the restored layers.
        known: the numbers of the table's sequences.

    Raises:
        CollateError: there is one.
    """
    numbers = torch.tensor([-1, *known], dtype=torch.int64, device="cpu")
    for state in layers:
        if not state.histogram.has_fitting_bins():
            raise _refused(f"the bins of a histogram of layer {state.layer} do not fit its range")
        for examples in (state.top, state.sample):
            if not bool(torch.isin(examples.sequence_index().cpu(), numbers).all()):
                raise _refused(f"an example of layer {state.layer} is from a sequence that it lacks")


def _refused(problem: str) -> CollateError:
    return CollateError(f"The saved state is damaged: {problem}. Start again with overwrite=True.")
