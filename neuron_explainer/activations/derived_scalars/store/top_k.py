"""The k largest numbers in many tensors, without sorting or copying the tensors.

A row is a position of the first axis. Each of the k largest numbers lies in one of the k rows with the largest maxima.
So each tensor is read once, for the maxima of its rows, and then only k rows are searched. Masked numbers (-inf) and
NaN are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ranked:
    """The k largest (or smallest) numbers, best first.

    Attributes:
        values: the numbers.
        tensor: for each, which tensor it is in.
        row: for each, its position on the first axis.
        column: for each, its position on the other axes, flattened.
    """

    values: Float[Tensor, " k"]
    tensor: Int[Tensor, " k"]
    row: Int[Tensor, " k"]
    column: Int[Tensor, " k"]


def top_k(tensors: Sequence[Float[Tensor, "..."]], k: int, largest: bool = True) -> Ranked:
    """The k largest (or smallest) numbers of all tensors together; fewer if there are fewer.

    Args:
        tensors: at least one; of any shapes with at least one axis and one number, on one device.
        k: how many numbers.
        largest: False for the smallest.
    """
    device = tensors[0].device
    extremes = torch.cat([_row_extremes(tensor, largest) for tensor in tensors])
    sizes = [0, *(tensor.shape[0] for tensor in tensors[:-1])]
    first_rows = torch.tensor(sizes, dtype=torch.int64, device=device).cumsum(0)
    chosen_rows = extremes.topk(min(k, extremes.shape[0]), largest=largest).indices.sort().values
    owners = torch.searchsorted(first_rows, chosen_rows, right=True) - 1
    values, numbers, rows, columns = [], [], [], []
    for number in owners.unique().tolist():
        rows_here = chosen_rows[owners == number] - first_rows[number]
        content = _without_masked(tensors[number][rows_here].flatten(start_dim=1), largest)
        best = content.flatten().topk(min(k, content.numel()), largest=largest)
        values.append(best.values)
        numbers.append(torch.full_like(best.indices, number))
        rows.append(rows_here[best.indices // content.shape[1]])
        columns.append(best.indices % content.shape[1])
    candidates = torch.cat(values)
    order = candidates.topk(min(k, candidates.shape[0]), largest=largest)
    kept = order.indices[order.values != _worst(largest)]
    return Ranked(candidates[kept], torch.cat(numbers)[kept], torch.cat(rows)[kept], torch.cat(columns)[kept])


def _worst(largest: bool) -> float:
    return float("-inf") if largest else float("inf")


def _without_masked(tensor: Tensor, largest: bool) -> Tensor:
    masked = tensor.isnan() | (tensor == float("-inf"))
    return tensor.masked_fill(masked, _worst(largest))


def _row_extremes(tensor: Tensor, largest: bool) -> Tensor:
    """Each row's largest (or smallest) number, apart from NaN and masked ones; -inf (or inf) for a row without one."""

    def reduce(content: Tensor) -> Tensor:
        axes = tuple(range(1, content.ndim))
        if not axes:
            return content.clone()
        return content.amax(dim=axes) if largest else content.amin(dim=axes)

    extremes = reduce(tensor)
    doubtful = extremes.isnan() | (extremes == float("-inf"))
    if bool(doubtful.any()):  # only the rows that hold such a number are read again
        extremes[doubtful] = reduce(_without_masked(tensor[doubtful], largest))
    return extremes
