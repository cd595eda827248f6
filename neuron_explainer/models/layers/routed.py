"""The numbers of a mixture of experts' neurons, kept for the experts alone that the router chose.

Expert e's neuron n is the layer's neuron e * d_expert + n. The neurons of experts that a token is not sent to are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RoutedTensor:
    """One number for each neuron of a layer, 0 but for the experts that each token was sent to.

    Attributes:
        values: the numbers of the chosen experts' neurons; there may be more axes after the neurons'.
        experts: the chosen experts' indices.
        n_experts: how many experts the layer has.
        complete: gives `dense()`, where the other neurons' numbers are not 0: gradients with respect to activations.

    >>> routed = RoutedTensor(torch.tensor([[[5.0, 6.0]]]), torch.tensor([[2]]), 3)
    >>> routed.shape, routed.dense().tolist()
    (torch.Size([1, 6]), [[0.0, 0.0, 0.0, 0.0, 5.0, 6.0]])
    """

    values: Tensor
    experts: Int[Tensor, "*axes chosen"]
    n_experts: int
    complete: Callable[[], Tensor] | None = None

    @property
    def shape(self) -> torch.Size:
        """The shape of `dense()`."""
        n_axes = self.experts.ndim - 1
        d_expert, *rest = self.values.shape[n_axes + 1 :]
        return torch.Size((*self.experts.shape[:-1], self.n_experts * d_expert, *rest))

    @property
    def d_expert(self) -> int:
        """The number of neurons of an expert."""
        return self.values.shape[self.experts.ndim]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the numbers."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.values.device

    @property
    def ndim(self) -> int:
        """How many axes `dense()` has."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.experts)

    def numel(self) -> int:
        """How many numbers are kept."""
        return self.values.numel()

    def dense(self) -> Tensor:
        """All neurons' numbers; gradients flow to the values."""
        if self.complete is not None:
            return self.complete()
        shape = self.shape
        experts = self._experts_by_row()
        values = self.values.reshape(*experts.shape, *self.values.shape[self.experts.ndim :])
        result = values.new_zeros(len(experts), self.n_experts, *values.shape[2:])
        rows = torch.arange(len(experts), dtype=torch.int64, device=experts.device)[:, None]
        return result.index_put((rows, experts), values).reshape(shape)

    def with_values(self, values: Tensor) -> RoutedTensor:
        """Other numbers of the same neurons; there may be more axes after the neurons'."""
        return replace(self, values=values, complete=None)

    def gathered(self, dense: Tensor) -> RoutedTensor:
        """The same neurons' entries in a tensor for all neurons, (neurons) or (*axes, neurons, *rest)."""
        if dense.ndim == 1:
            return self.with_values(dense.unflatten(0, (self.n_experts, -1))[self.experts])
        n_axes = self.experts.ndim - 1
        experts = self._experts_by_row()
        flat = dense.reshape(len(experts), self.n_experts, self.d_expert, *dense.shape[n_axes + 1 :])
        rows = torch.arange(len(flat), dtype=torch.int64, device=flat.device)[:, None]
        return self.with_values(flat[rows, experts].reshape(*self.experts.shape, *flat.shape[2:]))

    def _experts_by_row(self) -> Int[Tensor, "rows chosen"]:
        return self.experts.reshape(math.prod(self.experts.shape[:-1]), self.experts.shape[-1])

    def of(self, other: RoutedTensor | Tensor) -> Tensor:
        """Another tensor's numbers of the same neurons."""
        if isinstance(other, RoutedTensor):
            return other.values if other.experts is self.experts else self.gathered(other.dense()).values
        return self.gathered(other).values

    def __mul__(self, other: RoutedTensor | Tensor) -> RoutedTensor:
        return self.with_values(self.values * self.of(other))

    def __getitem__(self, where: int | slice | list[int] | tuple[int | slice, ...] | None) -> RoutedTensor:
        """A part, by positions on the axes before the neurons'."""
        return replace(self, values=self.values[where], experts=self.experts[where], complete=None)

    def neuron(self, index: int) -> Tensor:
        """One neuron's numbers."""
        expert, within = divmod(index, self.d_expert)
        n_axes = self.experts.ndim
        of_neuron = self.values.select(n_axes, within)
        chosen = (self.experts == expert).reshape(*self.experts.shape, *[1] * (of_neuron.ndim - n_axes))
        return (of_neuron * chosen).sum(n_axes - 1)

    def column(self, row: int, position: int) -> int:
        """Where a number stands in a row of `dense()`, flattened, by its place in the row of values, flattened.

        The numbers have one axis before the neurons'.
        """
        size = math.prod(self.values.shape[2:])
        chosen, within = divmod(position, size)
        return int(self.experts[row, chosen]) * size + within

    def to(self, device: torch.device) -> RoutedTensor:
        """The same on another device."""
        return replace(self, values=self.values.to(device), experts=self.experts.to(device), complete=None)

    def clone(self) -> RoutedTensor:
        """A copy in memory of its own."""
        return replace(self, values=self.values.clone(), experts=self.experts.clone(), complete=None)

    def detach(self) -> RoutedTensor:
        """The same numbers without a graph."""
        return self.with_values(self.values.detach())

    @classmethod
    def zeros(cls, shape: tuple[int, ...], n_axes: int, n_experts: int, like: Tensor) -> RoutedTensor:
        """Zeros for every neuron, which take no memory.

        Args:
            shape: the shape of `dense()`.
            n_axes: how many axes stand before the neurons'.
            n_experts: how many experts the layer has.
            like: has the dtype and the device.
        """
        neurons, *rest = shape[n_axes:]
        values = like.new_zeros(*shape[:n_axes], 0, neurons // n_experts, *rest)
        experts = torch.zeros(*shape[:n_axes], 0, dtype=torch.int64, device=like.device)
        return cls(values, experts, n_experts)


Neurons = Tensor | RoutedTensor
"""The numbers of a layer's neurons."""


def dense(neurons: Neurons) -> Tensor:
    """The numbers of all neurons, as one tensor."""
    return neurons.dense() if isinstance(neurons, RoutedTensor) else neurons


def values_of(neurons: Neurons) -> Tensor:
    """The numbers that are kept."""
    return neurons.values if isinstance(neurons, RoutedTensor) else neurons


def one_neuron(neurons: Neurons, token: int, index: int) -> Float[Tensor, " batch"]:
    """One neuron's number at one token of each prompt."""
    if isinstance(neurons, RoutedTensor):
        return neurons[:, token].neuron(index)
    return neurons[:, token, index]


def product(neurons: Neurons, factor: Neurons) -> Neurons:
    """The product of two numbers of each neuron."""
    if isinstance(factor, RoutedTensor) and not isinstance(neurons, RoutedTensor):
        return factor * neurons
    return neurons * factor if isinstance(neurons, RoutedTensor) else neurons * dense(factor)
