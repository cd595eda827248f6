"""Tensors by layer of a mixture of experts: whatever is taken out is a tensor of all neurons."""

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from neuron_explainer.models.layers.dense_by_layer import DenseByLayer
from neuron_explainer.models.layers.routed import RoutedTensor


def by_layer() -> DenseByLayer:
    return DenseByLayer({0: torch.ones(1, 6), 1: RoutedTensor(torch.tensor([[[5.0, 6.0]]]), torch.tensor([[2]]), 3)})


ALL_OF_LAYER_1 = [[0.0, 0.0, 0.0, 0.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    "take",
    [
        lambda tensors: tensors[1],
        lambda tensors: tensors.get(1),
        lambda tensors: tensors.pop(1),
        lambda tensors: tensors.popitem()[1],
        lambda tensors: tensors.setdefault(1),
        lambda tensors: list(tensors.values())[1],
        lambda tensors: dict(tensors.items())[1],
    ],
)
def test_a_layer_is_taken_out_as_a_tensor(take: Callable[[DenseByLayer], Tensor]) -> None:
    assert take(by_layer()).tolist() == ALL_OF_LAYER_1


@pytest.mark.parametrize(
    "copied",
    [dict, copy.copy, copy.deepcopy, lambda tensors: pickle.loads(pickle.dumps(tensors)), lambda tensors: {**tensors}],
)
def test_a_copy_gives_tensors(copied: Callable[[DenseByLayer], Mapping[Any, Tensor]]) -> None:
    again = copied(by_layer())
    assert list(again) == [0, 1]
    assert again[1].tolist() == ALL_OF_LAYER_1


def test_a_default_is_given_as_it_is() -> None:
    assert by_layer().get(5) is None
    assert by_layer().pop(5, "none") == "none"
    assert by_layer().setdefault(5) is None
