"""What is computed from weights must be finite: a table of NaN would look like a result."""

from __future__ import annotations

import torch
from torch import Tensor

from neuron_explainer.errors import NonFiniteTensorError

_ADVICE = "Look for damaged weights, or load the model in a wider dtype, such as dtype=torch.float32."


def check_finite_result(values: Tensor, what: str) -> None:
    """Refuse numbers that are infinite or NaN.

    Args:
        values: the numbers.
        what: what they are, such as "What L1N3 writes".

    Raises:
        NonFiniteTensorError: some are infinite or NaN.
    """
    wrong = ~values.isfinite()
    if bool(wrong.any()):
        raise NonFiniteTensorError(
            f"{what} is infinite or NaN in {int(wrong.sum()):,} of {values.numel():,} numbers. {_ADVICE}"
        )


def check_finite_rows(rows: Tensor, layer: int, symbol: str, what: str, start: int = 0) -> None:
    """Refuse rows of which one has numbers that are infinite or NaN, and name its component.

    Args:
        rows: a row, or a matrix, for each component of a layer.
        layer: the layer.
        symbol: what stands between layer and number in the components' names.
        what: what they do, such as "writes".
        start: the number of the first row's component.

    Raises:
        NonFiniteTensorError: some are infinite or NaN.
    """
    wrong = ~rows.flatten(1).isfinite().all(1)
    if bool(wrong.any()):
        first = start + int(torch.nonzero(wrong)[0])
        raise NonFiniteTensorError(
            f"What L{layer}{symbol}{first} {what} is infinite or NaN; so it is of {int(wrong.sum()):,} of the "
            f"{len(rows):,} in layer {layer}. {_ADVICE}"
        )
