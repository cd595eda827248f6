"""Tensors by layer, in which those of a mixture of experts' neurons are kept for the chosen experts alone."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any

from torch import Tensor

from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, dense


class DenseByLayer(dict[Any, Tensor]):
    """Tensors by layer. Those of a mixture of experts' neurons are made when they are asked for, one at a time."""

    def __init__(self, by_layer: Mapping[Any, Neurons]) -> None:
        super().__init__(by_layer)  # whatever is taken out is dense

    def __getitem__(self, layer: int | None) -> Tensor:
        return dense(super().__getitem__(layer))

    def __iter__(self) -> Iterator[int | None]:
        return super().__iter__()  # overridden, so that dict(…) and copies take each tensor by __getitem__

    def get(self, layer: int | None, default: Any = None) -> Any:
        """The layer's tensor, or the default."""
        return _dense_if_routed(super().get(layer, default))

    def pop(self, layer: int | None, *default: Any) -> Any:
        """The layer's tensor, which is taken out."""
        return _dense_if_routed(super().pop(layer, *default))

    def popitem(self) -> tuple[Any, Tensor]:
        """The last layer and its tensor, which are taken out."""
        layer, tensor = super().popitem()
        return layer, dense(tensor)

    def setdefault(self, layer: int | None, default: Any = None) -> Any:
        """The layer's tensor; the default, which is put in, if there is none."""
        return _dense_if_routed(super().setdefault(layer, default))

    def values(self) -> Any:
        """The tensors; each is made when it is reached."""
        return ValuesView(self)

    def items(self) -> Any:
        """The layers and their tensors; each is made when it is reached."""
        return ItemsView(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.kept()),)

    def kept(self) -> Iterable[tuple[int | None, Neurons]]:
        """The layers and their tensors as they are kept."""
        return super().items()


def _dense_if_routed(value: Any) -> Any:
    """A layer's tensor as one tensor; a default as it is."""
    return value.dense() if isinstance(value, RoutedTensor) else value
