"""Neurons of experts that the router did not choose: 0, with the gradient that writing to them would have."""

import pytest
import torch

from helpers.derived_scalars import PROMPT, context, derived, logit_difference, slope
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as P

FAMILIES = ["mixtral", "qwen3_moe", "olmoe", "gpt_oss"]
TOKEN, LAYER = 2, 1


def neurons(family: str, *, chosen: bool) -> list[int]:
    """The neurons of the experts that the token is sent to, or the others."""
    activations = derived(family, D.MLP_POST_ACT).activations(D.MLP_POST_ACT)[LAYER][TOKEN]
    return [int(neuron) for neuron in ((activations != 0) == chosen).nonzero()]


def ablation(neuron: int, value: float) -> AblationSpec:
    return AblationSpec(ActivationIndex(P.MLP_POST_ACT, LAYER, (TOKEN, neuron)), value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("other_is_chosen", [True, False])
def test_the_gradient_is_the_slope_of_writing_beside_another_ablation(family: str, other_is_chosen: bool) -> None:
    other = ablation(neurons(family, chosen=other_is_chosen)[0], 0.3)
    neuron = neurons(family, chosen=False)[-1]
    store = derived(family, D.MLP_POST_ACT, derive_gradients=True, ablations=[other])

    def loss_at(value: float) -> float:
        loss = derived(family, D.LOGITS, ablations=[other, ablation(neuron, value)]).loss
        assert loss is not None
        return loss

    gradient = store.activations(D.MLP_POST_ACT, PassType.BACKWARD)[LAYER][TOKEN, neuron]
    assert gradient != 0
    assert float(gradient) == pytest.approx(slope(loss_at, 0.0), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pass_type", list(PassType))
def test_an_intervention_that_changes_nothing_leaves_the_gradients(family: str, pass_type: PassType) -> None:
    model, found = context(family).get_or_create_model(), []
    for place in (P.MLP_POST_ACT, P.RESID_POST_MLP):
        with (
            model.record(P.MLP_POST_ACT, gradients=True) as recording,
            model.intervene(place, LAYER, lambda numbers: numbers, pass_type=pass_type, notes_change=False),
        ):
            recording.backward(logit_difference(model(torch.tensor([PROMPT]))[0]))
        found.append(recording.gradient(P.MLP_POST_ACT, LAYER))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("act", list(PreOrPostAct))
def test_nothing_leads_to_a_neuron_that_was_not_chosen(family: str, act: PreOrPostAct) -> None:
    node = NodeIndex(NodeType.MLP_NEURON, LAYER, (TOKEN, neurons(family, chosen=False)[0]))
    dsts = [D.MLP_ACT_TIMES_GRAD, D.TOKEN_ATTRIBUTION, D.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD]
    traced = derived(family, dsts, loss=None, trace_config=TraceConfig(node, act))
    edges = derived(family, [D.MLP_IN_EDGE_ATTRIBUTION, D.MLP_OUT_EDGE_ATTRIBUTION], node_index_for_attribution=node)
    assert traced.traced_activation == 0
    for store in (traced, edges):
        for dst in store.dsts:
            assert all(float(tensor.abs().max()) == 0 for tensor in store.activations(dst).values())
