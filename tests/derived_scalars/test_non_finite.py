"""A model that overflows says so, and where."""

import copy
import warnings

import pytest
import torch

import neuron_explainer as ne
from helpers.tiny_models import our_model
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.notices import NonFiniteWarning
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.places import ActivationLocationType as P


def context(dtype: torch.dtype, factor: float = 1.0) -> StandardModelContext:
    """A model whose MLP of layer 1 writes `factor` times as much as it did."""
    model = copy.deepcopy(our_model("llama", dtype))
    with torch.no_grad():
        model.blocks[1].mlp.output_weight.mul_(factor)
    return StandardModelContext("a small model", model)


def test_float16_overflow_is_said_with_its_place_and_layer() -> None:
    with pytest.warns(NonFiniteWarning) as caught:
        ne.derive([3, 1, 4, 1, 5], [D.RESID_POST_MLP, D.ATTN_QK_PROBS], context(torch.float16, 6e4))
    (warning,) = caught
    assert "at resid.delta_mlp of layer 1, in float16" in str(warning.message)
    assert "resid_post_mlp (layers 1–2)" in str(warning.message)
    assert "Load the model with dtype=torch.bfloat16" in str(warning.message)
    assert warning.filename == __file__


def test_the_prompt_that_overflows_is_named() -> None:
    model = context(torch.float16)
    with torch.no_grad():
        model.get_or_create_model().embedding[7] = torch.inf
    with pytest.warns(NonFiniteWarning, match="of prompt 1: some numbers"):
        ne.derive_batch([[3, 1], [3, 7, 1], [2]], D.RESID_POST_MLP, model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masked_logits_are_no_overflow(dtype: torch.dtype) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ne.derive_batch([[3, 1, 4], [2]], [D.ATTN_QK_LOGITS, D.ATTN_QK_PROBS, D.LOGITS], context(dtype))


def test_what_an_ablation_makes_infinite_is_found_with_the_ablation() -> None:
    ablation = AblationSpec(ActivationIndex(P.MLP_POST_ACT, 0, ("All", 2)), 6e4)
    model = context(torch.float16)
    with torch.no_grad():
        model.get_or_create_model().blocks[0].mlp.output_weight.fill_(3.0)
    with pytest.warns(NonFiniteWarning, match="at resid.delta_mlp of layer 0"):
        ne.derive([3, 1], D.RESID_POST_MLP, model, ablations=ablation)


def test_what_overflows_outside_of_the_model_is_said_so() -> None:
    model = context(torch.float16)
    with torch.no_grad():
        model.get_or_create_model().embedding.fill_(4e4)
    with pytest.warns(NonFiniteWarning, match="Every activation of the model is finite") as caught:
        ne.derive([3, 1], [D.RESID_POST_EMBEDDING, D.RESID_POST_EMBEDDING_NORM], model)
    assert str(caught[0].message).startswith("resid_post_embedding_norm: ")
