"""Folding norms changes the weights and not what the model computes."""

import pytest
import torch

from helpers.tiny_models import HF_CONFIGS, our_model, random_tokens
from neuron_explainer.models.parity.folding import with_folded_norms
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
UNCHANGED = [P.RESID_POST_MLP, P.MLP_PRE_ACT, P.MLP_POST_ACT, P.ATTN_VALUE, P.ATTN_QK_PROBS, P.LOGITS]


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_a_folded_copy_computes_the_same(name: str) -> None:
    model = our_model(name, torch.float64)
    before = {key: parameter.clone() for key, parameter in model.named_parameters()}
    folded = with_folded_norms(model)
    tokens = random_tokens(2, 7)
    with model.record(UNCHANGED) as expected:
        model(tokens)
    with folded.record([*UNCHANGED, P.RESID_POST_ATTN_LAYER_NORM]) as found:
        folded(tokens)
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor)
    if model.config.input_norms:  # else what is read is not normalised
        normed = found[P.RESID_POST_ATTN_LAYER_NORM, 1]
        torch.testing.assert_close(normed.square().mean(-1), torch.ones(2, 7, dtype=torch.float64), rtol=1e-3, atol=0)
    assert all(torch.equal(parameter, before[key]) for key, parameter in model.named_parameters())
