"""Differences and means of the tensors of several stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.store.shapes import Tensors
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, dense, values_of
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.wording import number_ranges

ValueT = TypeVar("ValueT")

OTHER_TOKEN = "…"
"""A token, in a mean of stores, at which their prompts differ."""


@runtime_checkable
class StoreLike(Protocol):
    """What of a DerivedScalarStore is read here."""

    tokens: list[str]
    token_ids: list[int] | None
    model_name: str | None
    n_beginning: int
    summed: frozenset[Dimension]

    @property
    def loss(self) -> float | None:
        """The loss."""

    @property
    def traced_activation(self) -> float | None:
        """The traced activation."""

    @property
    def kept(self) -> Tensors:
        """The tensors."""


def difference(first: StoreLike, other: StoreLike) -> dict[str, Any]:
    """What makes the store of the differences.

    Raises:
        InvalidRequestError: the stores are not alike; see `_check_alike`.
    """
    _check_alike(first, other, "the other store")
    minus = (1.0, -1.0)
    return {
        "tensors": _combined([first.kept, other.kept], minus),
        "tokens": first.tokens,
        "token_ids": first.token_ids,
        "loss": _sum([first.loss, other.loss], minus),
        "traced_activation": _sum([first.traced_activation, other.traced_activation], minus),
        "model_name": _common([first.model_name, other.model_name]),
        "summed": first.summed,
        "n_beginning": first.n_beginning,
    }


def mean(stores: Sequence[StoreLike]) -> dict[str, Any]:
    """What makes the store of the means.

    Raises:
        InvalidRequestError: the stores are not alike; see `_check_alike`.
    """
    first, *others = stores
    for number, store in enumerate(others, start=1):
        _check_alike(first, store, f"store {number}")
    weights = [1.0 / len(stores)] * len(stores)
    return {
        "tensors": _combined([store.kept for store in stores], weights),
        "tokens": [_common(tokens) or OTHER_TOKEN for tokens in zip(*(store.tokens for store in stores), strict=True)],
        "token_ids": _common([store.token_ids for store in stores]),
        "loss": _sum([store.loss for store in stores], weights),
        "traced_activation": _sum([store.traced_activation for store in stores], weights),
        "model_name": _common([store.model_name for store in stores]),
        "summed": first.summed,
        "n_beginning": _common([store.n_beginning for store in stores]) or 0,
    }


def _check_alike(first: StoreLike, other: StoreLike, name: str) -> None:
    """Refuse two stores whose tensors do not stand for the same numbers.

    Raises:
        InvalidRequestError: they have different numbers of tokens, derived scalars, layers, summed axes or shapes.
    """
    if len(first.tokens) != len(other.tokens):
        raise InvalidRequestError(
            f"The first store has {len(first.tokens)} tokens, {name} {len(other.tokens)}. Give stores of equally long "
            "prompts."
        )
    if first.summed != other.summed:
        axes = ", ".join(sorted(axis.label for axis in first.summed ^ other.summed))
        raise InvalidRequestError(f"The first store and {name} differ in the axes that are summed: {axes}.")
    for has, lacks, names in ((first, other, ("The first store", name)), (other, first, (name, "the first store"))):
        for key, by_layer in has.kept.items():
            lacking = by_layer.keys() - lacks.kept.get(key, {}).keys()
            if lacking:
                owner = names[0][0].upper() + names[0][1:]
                raise InvalidRequestError(
                    f"{owner} has {_named(key, lacking)}, and {names[1]} does not. Keep what both have, with select."
                )
    for key, by_layer in first.kept.items():
        for layer, tensor in by_layer.items():
            shape = other.kept[key][layer].shape
            if tensor.shape != shape:
                raise InvalidRequestError(
                    f"{_named(key, [layer])} is of the shape {tuple(tensor.shape)} in the first store, and "
                    f"{tuple(shape)} in {name}."
                )


def _named(key: tuple[DerivedScalarType, PassType], layers: Iterable[int | None]) -> str:
    numbers = number_ranges(layer for layer in layers if layer is not None)
    gradient = "the gradient of " if key[1] is PassType.BACKWARD else ""
    return f"{gradient}{key[0].value}{f' (layers {numbers})' if numbers else ''}"


def _combined(several: Sequence[Tensors], weights: Sequence[float]) -> Tensors:
    """The weighted sums of tensors that are alike. What is masked (-inf) in all stays so."""
    return {
        key: {layer: _weighted_sum([tensors[key][layer] for tensors in several], weights) for layer in by_layer}
        for key, by_layer in several[0].items()
    }


def _weighted_sum(tensors: Sequence[Neurons], weights: Sequence[float]) -> Neurons:
    """Neurons of the same chosen experts stay theirs; those of other ones become one tensor."""
    first = tensors[0]
    if isinstance(first, RoutedTensor) and all(_have_same_experts(first, tensor) for tensor in tensors):
        return first.with_values(_weighted([values_of(tensor) for tensor in tensors], weights))
    return _weighted([dense(tensor) for tensor in tensors], weights)


def _have_same_experts(first: RoutedTensor, other: Neurons) -> bool:
    return isinstance(other, RoutedTensor) and torch.equal(first.experts, other.experts.to(first.device))


def _weighted(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    first = tensors[0]
    precision = torch.promote_types(first.dtype, torch.float32)
    total = torch.zeros_like(first, dtype=precision)
    is_masked = torch.ones_like(first, dtype=torch.bool)
    for tensor, weight in zip(tensors, weights, strict=True):
        here = tensor.to(first.device, precision)
        is_masked &= here == float("-inf")
        total += here * weight
    return total.masked_fill(is_masked, float("-inf")).to(first.dtype)


def _sum(numbers: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """The weighted sum of numbers; None if one is missing."""
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    return sum(number * weight for number, weight in zip(known, weights, strict=True))


def _common(values: Sequence[ValueT]) -> ValueT | None:
    """What all values are; None if they differ."""
    return values[0] if all(value == values[0] for value in values) else None
