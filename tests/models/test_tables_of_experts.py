"""No table of all experts' neurons is made: not one of a layer, and so not one of all layers."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import neuron_explainer as ne
from benchmarks.shapes import random_model
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.derived_scalars import annotations_unchecked
from helpers.tiny_models import random_tokens
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

N_TOKENS, N_EXPERTS, N_CHOSEN, D_EXPERT = 60, 64, 2, 40


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize(
    "dst", [D.MLP_PRE_ACT, D.MLP_POST_ACT, D.MLP_WRITE_NORM, D.MLP_ACT_TIMES_GRAD, D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD]
)
def test_the_largest_tensor_has_the_chosen_experts_neurons(dst: D) -> None:
    entries = {
        **SMALL_CONFIGS["qwen3_moe"], "num_experts": N_EXPERTS, "num_experts_per_tok": N_CHOSEN,
        "moe_intermediate_size": D_EXPERT,
    }  # fmt: skip
    model = ne.StandardModelContext("wide", random_model(entries, "cpu", torch.float32), number_tokenizer())
    with annotations_unchecked(), LargestTensor() as largest:  # a checked dict gives a layer as one tensor
        store = ne.derive(random_tokens(1, N_TOKENS)[0], dst, model, loss=lambda logits: logits[-1, 3])
        store.topk(10)
        store.to_dataframe(10)
    assert largest.numel < N_TOKENS * N_EXPERTS * D_EXPERT / 4  # a layer's table
