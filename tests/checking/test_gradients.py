"""Gradients against finite differences: how small a fault is found, in which dtype, and where it is said to be."""

from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.installed_transformers import model_of
from helpers.tiny_models import HF_CONFIGS, ONE_OF_EACH_FAMILY, our_model
from neuron_explainer.checking.alone.gradients import gradients
from neuron_explainer.checking.comparison import OF_LAYER
from neuron_explainer.checking.findings import Finding, Where
from neuron_explainer.checking.probes import random_probe
from neuron_explainer.models.hooks.recording import Recording
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType as Place


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return tensor.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None


def with_wrong_gradient(factor: float, dtype: torch.dtype = torch.float32) -> Transformer:
    """A model whose MLP of layer 1 multiplies the gradient of its input; its numbers are right."""
    model = our_model("gpt2", dtype)
    model.blocks[1].mlp.register_forward_pre_hook(lambda _, inputs: (_Times.apply(inputs[0], factor), *inputs[1:]))
    return model


def of_gradients(model: Transformer, thorough: bool = False) -> Finding:
    return next(
        each for each in ne.check(model, thorough=thorough, progress=False).findings if each.check == "gradients"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_wrong_gradient_is_found_in_every_dtype(dtype: torch.dtype) -> None:
    assert of_gradients(our_model("gpt2", dtype)).status == "passed"
    found = of_gradients(with_wrong_gradient(2.0, dtype))
    assert found.status == "failed"
    assert found.where is not None
    assert found.where.layer == 1


def test_the_place_before_the_fault_is_named_and_a_small_fault_found_with_more_digits() -> None:
    report = ne.check(with_wrong_gradient(1.04), thorough=True, progress=False)
    assert report.first_difference is not None
    assert (report.first_difference.place, report.first_difference.layer) == (Place.RESID_POST_ATTN_LAYER_NORM, 1)
    assert "Going back from the logits" in report.failed[0].said
    assert of_gradients(our_model("gpt2"), thorough=True).allowed == 1e-5


@pytest.mark.parametrize(
    "place", [each for each in OF_LAYER if each is not Place.ATTN_QK_LOGITS], ids=lambda each: each.value
)
def test_a_recorded_tensor_that_is_off_the_graph_is_found_at_every_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Recording.store

    def store(self: Recording, key: Any, tensor: Any) -> None:
        stored(self, key, tensor.clone() if self.gradients and key == (place, 1) else tensor)

    monkeypatch.setattr(Recording, "store", store)
    for dtype in (torch.float32, torch.float64):
        model = our_model("gpt2", dtype)
        (found,) = gradients(model, random_probe(model), everywhere=True)
        assert found.status == "failed"
        assert found.where == Where(place, 1)


@pytest.mark.parametrize("factor", [0.01, 0.1])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_small_weights_are_no_fault(name: str, factor: float) -> None:
    model = our_model(name)
    for parameter, weight in list(model.named_parameters()):
        fill(model, parameter, weight * factor)
    found = [
        each for everywhere in (False, True) for each in gradients(model, random_probe(model), everywhere=everywhere)
    ]
    assert [each.status for each in found if each.status == "failed"] == []


@pytest.mark.parametrize("name", ["qwen2", "gemma3_text", "phi"])
def test_keys_of_a_single_token_have_no_gradient(name: str) -> None:
    model = our_model(name)
    one = random_probe(model, 1)
    for everywhere in (False, True):
        assert [each.status for each in gradients(model, one, everywhere=everywhere)] == ["passed"]


def test_where_no_copy_is_possible_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = our_model("gpt2", torch.bfloat16)
    monkeypatch.setattr(model.blocks[0], "forward", model.blocks[0].forward)
    found = of_gradients(model)
    assert found.status == "not checked"
    assert found.said == (
        "Differences in bfloat16 are too rough, and a method of the model was replaced, so it cannot be copied."
    )


def test_a_prompt_of_one_token() -> None:
    config = type(HF_CONFIGS["gpt2"])(**HF_CONFIGS["gpt2"].to_dict() | {"n_positions": 1})
    theirs = model_of(config)
    ours = Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())
    assert of_gradients(ours, thorough=True).status == "passed"
