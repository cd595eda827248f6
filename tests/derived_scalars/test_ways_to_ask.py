"""What is taken wherever a type, a config, a pass, an axis or a layer is: names, values, models, NumPy's integers."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers.derived_scalars import PROMPT, close, context, logit_difference
from neuron_explainer.activations.derived_scalars import (
    BatchDeriver,
    DstConfig,
    LossFnConfig,
    NodeIndex,
    TraceConfig,
    derive,
    derive_batch,
)
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.config import as_config
from neuron_explainer.errors import MisconfiguredError, UnknownNameError
from neuron_explainer.vocabulary.nodes import PassType


@pytest.fixture(scope="module")
def model():
    return context("gpt2")


@pytest.fixture(scope="module")
def expected(model):
    return derive(PROMPT, D.MLP_WRITE_NORM, DstConfig(model_context=model)).activations(D.MLP_WRITE_NORM)


@pytest.mark.parametrize("asked", [D.MLP_WRITE_NORM, "MLP_WRITE_NORM", "mlp_write_norm", "Mlp_Write_Norm"])
def test_names_and_values_stand_for_a_type(model, expected, asked):
    for dsts in (asked, [asked]):
        store = derive(PROMPT, dsts, model)
        for layer, tensor in store.activations(asked).items():
            close(tensor, expected[layer])


def test_a_model_stands_for_a_configuration_of_it(model, expected):
    (store,) = derive_batch([PROMPT], "mlp_write_norm", model)
    close(store.activations(D.MLP_WRITE_NORM)[1], expected[1])
    pairs = [("mlp_write_norm", model), (D.MLP_POST_ACT, model)]
    close(derive(PROMPT, pairs).activations("mlp_write_norm")[1], expected[1])
    close(derive(PROMPT, pairs[0]).activations("mlp_write_norm")[1], expected[1])
    with_config = [("mlp_write_norm", model), (D.MLP_POST_ACT, DstConfig(model_context=model, layer_indices=[1]))]
    assert list(derive(PROMPT, with_config).activations(D.MLP_POST_ACT)) == [1]
    for config in (None, model, DstConfig(model_context=model), DstConfig()):
        results = BatchDeriver(model, "mlp_write_norm", config).run(torch.tensor([PROMPT]))
        close(results[D.MLP_WRITE_NORM][1][0], expected[1])
    with pytest.raises(MisconfiguredError, match="has another model"):
        BatchDeriver(model, D.MLP_WRITE_NORM, context("llama"))


def test_a_configuration_stays_as_it_is(model):
    config = DstConfig(model_context=model, layer_indices=[1])
    assert as_config(config) is config
    assert as_config(model) == DstConfig(model_context=model)
    assert dataclasses.replace(config, derive_gradients=True).layer_indices == [1]


def test_passes_axes_and_layers_by_name_and_as_numpy_s_integers(model):
    config = DstConfig(model_context=model, derive_gradients=True)
    store = derive(PROMPT, "mlp_post_act", config, loss=logit_difference)
    gradients = store.activations("MLP_POST_ACT", "BACKWARD")
    close(gradients[0], store.activations(D.MLP_POST_ACT, PassType.BACKWARD)[0])
    values, indices = store.topk(np.int64(2), layers=np.int32(1), pass_type="backward")
    assert len(values) == 2
    assert {(index.layer_index, index.pass_type) for index in indices} == {(1, PassType.BACKWARD)}
    assert len(store.topk(2, layers=[np.int64(1), torch.tensor(2)])[1]) == 2
    assert store.sum_over("MLP_ACTS").activations(D.MLP_POST_ACT)[0].shape == (len(PROMPT), 1)
    assert store.sum_over("neurons").activations(D.MLP_POST_ACT)[0].shape == (len(PROMPT), 1)
    with pytest.raises(UnknownNameError, match=r"Unknown axis 'mlp_act'\. Choose one of: tokens, neurons\."):
        store.sum_over("mlp_act")
    with pytest.raises(UnknownNameError, match=r"forward, backward|backward, forward"):
        store.activations(D.MLP_POST_ACT, "backwards")


def test_losses_and_traces_by_name():
    assert LossFnConfig("Logit_Diff", [np.int64(3)]).target_tokens == (3,)
    with pytest.raises(MisconfiguredError, match=r"Unknown loss 'logit_dif'\. Choose one of: logit_diff"):
        LossFnConfig("logit_dif", [3])
    trace = TraceConfig(NodeIndex("ATTENTION_HEAD", np.int64(1), (3, 2, 1)), "POST", False, "qk")
    assert trace.to_json()["attention_trace_type"] == "QK"
    assert trace.layer_index == 1


def test_strings_stand_for_passes_and_kinds_of_latent():
    assert D.MLP_POST_ACT.requires_grad_for_pass_type("backward")
    assert not D.MLP_POST_ACT.requires_grad_for_pass_type("forward")
    mlp_latent = D.AUTOENCODER_LATENT.update_from_autoencoder_node_type("mlp_autoencoder_latent")
    assert mlp_latent is D.MLP_AUTOENCODER_LATENT
