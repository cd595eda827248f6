"""The final norm's scale, held constant in the backward pass by an argument."""

import pytest
import torch

from helpers.derived_scalars import PROMPT, close, context, logit_difference
from neuron_explainer.activations.derived_scalars import (
    AblationSpec,
    ActivationIndex,
    BatchDeriver,
    DstConfig,
    LossFnConfig,
    derive,
    derive_batch,
)
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex, TraceConfig
from neuron_explainer.errors import MisconfiguredError

SCALE = AblationSpec(ActivationIndex("resid.ln_f.scale", None, ("All", "All"), "backward"), 0)
DSTS = [D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD, D.UNFLATTENED_ATTN_ACT_TIMES_GRAD, D.TOKEN_ATTRIBUTION]


def same(first, second):
    for dst in DSTS:
        for layer, tensor in second.activations(dst).items():
            close(first.activations(dst)[layer], tensor, 1e-12)


@pytest.mark.parametrize(
    ("family", "loss"),
    [(family, logit_difference) for family in ("gpt2", "llama", "gemma2", "olmo2", "gptj", "gpt_oss")]
    + [("gpt2", LossFnConfig("logit_minus_mean", [7]))],
)
def test_it_is_the_ablation_of_the_scale_s_gradient(family, loss):
    model = context(family)
    frozen = derive(PROMPT, DSTS, model, loss=loss, freeze_final_norm=True)
    by_hand = derive(PROMPT, DSTS, model, loss=loss, ablations=[SCALE])
    same(frozen, by_hand)
    assert frozen.loss == by_hand.loss
    free = derive(PROMPT, DSTS, model, loss=loss)
    dst = D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD
    assert (free.activations(dst)[1] - frozen.activations(dst)[1]).abs().max() > 1e-6
    together = derive_batch([PROMPT, PROMPT[:3]], DSTS, model, loss=[loss, loss], freeze_final_norm=True)
    same(together[0], frozen)
    same(together[1], derive(PROMPT[:3], DSTS, model, loss=loss, ablations=[SCALE]))
    deriver = BatchDeriver(model, DSTS, loss=loss, freeze_final_norm=True)
    close(deriver.run(torch.tensor([PROMPT]))[dst][2][0], frozen.activations(dst)[2], 1e-12)


def test_it_changes_nothing_where_no_type_needs_a_gradient():
    frozen = derive(PROMPT, D.LOGITS, context("gpt2"), loss=logit_difference, freeze_final_norm=True)
    free = derive(PROMPT, D.LOGITS, context("gpt2"), loss=logit_difference)
    assert torch.equal(frozen.activations(D.LOGITS)[None], free.activations(D.LOGITS)[None])
    assert frozen.loss == free.loss
    assert derive(PROMPT, D.MLP_POST_ACT, context("gpt2"), freeze_final_norm=True).loss is None


def test_a_trace_that_is_differentiated_is_refused():
    trace = TraceConfig(NodeIndex("mlp_neuron", 2, (2, 5)), "pre")
    config = DstConfig(model_context=context("gpt2"), trace_config=trace)
    for dst in (D.TOKEN_ATTRIBUTION, D.MLP_ACT_TIMES_GRAD):
        with pytest.raises(MisconfiguredError, match=r"trace_config is differentiated.*detach_layer_norm_scale"):
            derive(PROMPT, dst, config, loss=logit_difference, freeze_final_norm=True)
    assert derive(PROMPT, D.MLP_POST_ACT, config, freeze_final_norm=True).traced_activation is not None
