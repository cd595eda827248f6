"""What cannot be derived is refused with a typed error before the model runs."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from helpers.derived_scalars import PROMPT, autoencoders, context, derived, logit_difference
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars import DstConfig, LossFnConfig, derive, derive_batch
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.errors import (
    AutoencoderMismatchError,
    IndexOutOfRangeError,
    InvalidRequestError,
    MisconfiguredError,
    MissingSettingError,
    NeuronExplainerError,
    NothingToDifferentiateError,
    NotOneTokenError,
    PromptError,
    UnknownNameError,
)
from neuron_explainer.models.autoencoder_context import MultiAutoencoderContext
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place


@pytest.fixture(autouse=True)
def _the_model_must_not_run(monkeypatch):
    def run(*_arguments, **_options):
        raise AssertionError("the model ran")

    monkeypatch.setattr(type(context("gpt2").get_or_create_model()), "forward", run)


def neuron(layer, token, index, **options):
    return TraceConfig(NodeIndex(NodeType.MLP_NEURON, layer, (token, index)), PreOrPostAct.PRE, **options)


def head(layer, indices, kind=AttentionTraceType.QK, act=PreOrPostAct.POST, downstream=None):
    return TraceConfig(NodeIndex(NodeType.ATTENTION_HEAD, layer, indices), act, False, kind, downstream)


def latent(layer, token, index, node_type=NodeType.AUTOENCODER_LATENT):
    return TraceConfig(NodeIndex(node_type, layer, (token, index)), PreOrPostAct.PRE)


def overwrite(place, layer, indices, pass_type=PassType.FORWARD):
    return AblationSpec(ActivationIndex(place, layer, indices, pass_type), 0.0)


def node(layer, token, index):
    return NodeIndex(NodeType.MLP_NEURON, layer, (token, index))


MLP, ATTENTION = D.MLP_POST_ACT, D.RESID_DELTA_ATTN

REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    # Nothing to differentiate
    "a gradient without loss or trace": (D.MLP_ACT_TIMES_GRAD, {"loss": None}, NothingToDifferentiateError, "loss"),
    "derive_gradients without loss or trace": (
        D.MLP_POST_ACT,
        {"loss": None, "derive_gradients": True},
        NothingToDifferentiateError,
        "trace_config",
    ),
    "a value trace without loss or downstream": (
        D.MLP_ACT_TIMES_GRAD,
        {"loss": None, "trace_config": head(1, (3, 1, 1), AttentionTraceType.V)},
        NothingToDifferentiateError,
        "downstream",
    ),
    "a local gradient without trace": (
        D.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        {},
        MissingSettingError,
        "trace_config",
    ),
    "a gradient overwritten where there is no backward pass": (
        D.MLP_POST_ACT,
        {"ablations": [overwrite(Place.MLP_POST_ACT, 1, (1, 1), PassType.BACKWARD)]},
        NothingToDifferentiateError,
        "backward",
    ),
    "a gradient overwritten after the start": (
        D.MLP_ACT_TIMES_GRAD,
        {
            "trace_config": neuron(1, 2, 3),
            "ablations": [overwrite(Place.MLP_POST_ACT, 2, (1, 1), PassType.BACKWARD)],
        },
        NothingToDifferentiateError,
        "before it",
    ),
    # Targets
    "a target of two tokens": (
        D.MLP_ACT_TIMES_GRAD,
        {"loss": LossFnConfig("logit_diff", ["t1 t2"])},
        NotOneTokenError,
        "t1",
    ),
    "a loss that is none": (D.MLP_ACT_TIMES_GRAD, {"loss": "logit_diff"}, MisconfiguredError, "LossFnConfig"),
    # Autoencoders
    "latents without autoencoder": (D.ONLINE_AUTOENCODER_LATENT, {}, MissingSettingError, "autoencoder"),
    "a latent traced without autoencoder": (
        D.MLP_ACT_TIMES_GRAD,
        {"trace_config": latent(1, 2, 3)},
        MissingSettingError,
        "autoencoder",
    ),
    "attention's latents with the MLP's autoencoder": (
        D.ATTENTION_AUTOENCODER_LATENT,
        {"autoencoder": MLP},
        AssertionError,
        "attention",
    ),
    "an error of another place": (
        D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
        {"autoencoder": MLP},
        AutoencoderMismatchError,
        "mlp_post_act",
    ),
    "a gradient at neurons with a residual autoencoder": (
        D.AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT,
        {"autoencoder": ATTENTION, "trace_config": latent(1, "All", 3)},
        AutoencoderMismatchError,
        "MLP_POST_ACT",
    ),
    "attention's writes to latents of neurons": (
        D.ATTN_WRITE_TO_LATENT,
        {"autoencoder": MLP, "trace_config": latent(1, "All", 3)},
        AutoencoderMismatchError,
        "residual stream",
    ),
    "writes to a latent and no latent traced": (
        D.ATTN_WRITE_TO_LATENT,
        {"autoencoder": ATTENTION, "trace_config": neuron(1, 2, 3)},
        MisconfiguredError,
        "latent",
    ),
    "all latents of several layers": (
        D.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED,
        {"autoencoder": ATTENTION},
        MisconfiguredError,
        "layer_indices",
    ),
    "generic latents of two autoencoders": (
        D.AUTOENCODER_LATENT,
        {"autoencoder": (MLP, ATTENTION)},
        AssertionError,
        "autoencoder",
    ),
    "a latent that is not there": (
        D.MLP_ACT_TIMES_GRAD,
        {"autoencoder": MLP, "trace_config": latent(1, 2, 24)},
        IndexOutOfRangeError,
        "24",
    ),
    "an ablated latent without autoencoder": (
        D.LOGITS,
        {"ablations": [overwrite(Place.ONLINE_AUTOENCODER_LATENT, 1, (1, 1))]},
        MissingSettingError,
        "autoencoder",
    ),
    "an ablated error of another place": (
        D.LOGITS,
        {
            "autoencoder": ATTENTION,
            "ablations": [overwrite(Place.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR, 1, (1, 1))],
        },
        AssertionError,
        "autoencoder",
    ),
    "writes of latents before a nonlinearity": (
        D.ONLINE_AUTOENCODER_WRITE_NORM,
        {"autoencoder": D.MLP_PRE_ACT},
        InvalidRequestError,
        "nonlinearity",
    ),
    # Out of range
    "a layer": (D.MLP_POST_ACT, {"layer_indices": [3]}, InvalidRequestError, "no layer 3; layers: 0–2"),
    "a traced layer": (D.MLP_ACT_TIMES_GRAD, {"trace_config": neuron(3, 2, 3)}, IndexOutOfRangeError, "layers: 0–2"),
    "a traced token": (D.MLP_ACT_TIMES_GRAD, {"trace_config": neuron(1, 6, 3)}, IndexOutOfRangeError, "0 to 5"),
    "a traced neuron": (D.MLP_ACT_TIMES_GRAD, {"trace_config": neuron(1, 2, 128)}, IndexOutOfRangeError, "128"),
    "a traced head": (D.MLP_ACT_TIMES_GRAD, {"trace_config": head(1, (2, 1, 4))}, IndexOutOfRangeError, "0 to 3"),
    "a downstream neuron": (
        D.MLP_ACT_TIMES_GRAD,
        {"trace_config": head(1, (2, 1, 1), AttentionTraceType.V, downstream=neuron(2, 2, 128))},
        IndexOutOfRangeError,
        "128",
    ),
    "an ablated head": (
        D.LOGITS,
        {"ablations": [overwrite(Place.ATTN_QK_PROBS, 1, (2, 1, 4))]},
        IndexOutOfRangeError,
        "0 to 3",
    ),
    "an ablated token": (
        D.LOGITS,
        {"ablations": [overwrite(Place.MLP_POST_ACT, 1, (6, 1))]},
        IndexOutOfRangeError,
        "0 to 5",
    ),
    "a node's token": (
        D.SINGLE_NODE_WRITE,
        {"node_index_for_attribution": node(1, 6, 1)},
        IndexOutOfRangeError,
        "0 to 5",
    ),
    "a head whose write is meant": (
        D.LOGITS,
        {"node_index_for_attention_write": NodeIndex(NodeType.ATTENTION_HEAD, 1, (2, 1, 4))},
        IndexOutOfRangeError,
        "0 to 3",
    ),
    "a neuron for the vocabulary": (
        D.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION,
        {"activation_index_for_fake_grad": ActivationIndex(Place.MLP_POST_ACT, 1, (0, 128))},
        IndexOutOfRangeError,
        "128",
    ),
    # Nodes and traces of the wrong form
    "a later token attended to": (
        D.MLP_ACT_TIMES_GRAD,
        {"trace_config": head(1, (2, 3, 1))},
        InvalidRequestError,
        "later",
    ),
    "a head at all tokens": (
        D.MLP_ACT_TIMES_GRAD,
        {"trace_config": head(1, ("All", 3, 1))},
        InvalidRequestError,
        "whole axis",
    ),
    "edges of no node": (D.MLP_OUT_EDGE_ATTRIBUTION, {}, MissingSettingError, "node_index_for_attribution"),
    "edges of a node at all tokens": (
        D.SINGLE_NODE_WRITE,
        {"node_index_for_attribution": node(1, None, 1)},
        InvalidRequestError,
        "whole axis",
    ),
    "edges of a channel": (
        D.SINGLE_NODE_WRITE,
        {"node_index_for_attribution": NodeIndex(NodeType.RESIDUAL_STREAM_CHANNEL, 1, (1, 1))},
        InvalidRequestError,
        "channel",
    ),
    "edges into a head, not saying which input": (
        D.ATTN_OUT_EDGE_ATTRIBUTION,
        {"node_index_for_attribution": NodeIndex(NodeType.ATTENTION_HEAD, 1, (3, 1, 1))},
        MissingSettingError,
        "AttnSubNodeIndex",
    ),
    "the vocabulary fed to nothing": (
        D.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION,
        {},
        MissingSettingError,
        "activation_index_for_fake_grad",
    ),
    "the vocabulary fed to attention": (
        D.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION,
        {"activation_index_for_fake_grad": ActivationIndex(Place.ATTN_QK_PROBS, 1, (0, 0, 1))},
        InvalidRequestError,
        "neuron or latent",
    ),
    # Prompts and types
    "an empty prompt": (D.LOGITS, {"prompt": []}, PromptError, "at least one"),
    "an empty text": (D.LOGITS, {"prompt": ""}, PromptError, "at least one"),
    "a prompt beyond the context": (D.LOGITS, {"prompt": [1] * 65}, PromptError, "64"),
    "a token that is not there": (D.LOGITS, {"prompt": [1, 61]}, PromptError, "61"),
    "a prompt of prompts": (D.LOGITS, {"prompt": torch.tensor([[1, 2], [3, 4]])}, PromptError, "derive_batch"),
    "a type that is none": ("mlp_post_akt", {}, UnknownNameError, "mlp_post_act"),
    "no types": ([], {}, InvalidRequestError, "at least one"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused(what):
    dsts, options, error, says = REFUSED[what]
    options = dict(options)
    places = options.pop("autoencoder", None)
    if isinstance(places, tuple):
        contexts = [autoencoders("gpt2", place) for place in places]
        options["multi_autoencoder_context"] = MultiAutoencoderContext.from_context_list(contexts)
    elif places is not None:
        options["autoencoder_context"] = autoencoders("gpt2", places)
    with pytest.raises(error, match=says) as caught:
        derived("gpt2", dsts, **options)
    assert isinstance(caught.value, NeuronExplainerError)


def test_a_batch_is_refused_where_its_shortest_prompt_lacks_the_token():
    config = DstConfig(model_context=context("gpt2"), trace_config=neuron(1, 4, 3))
    with pytest.raises(IndexOutOfRangeError, match="0 to 2"):
        derive_batch([PROMPT, [1, 2, 3]], D.MLP_ACT_TIMES_GRAD, config)


def test_a_configuration_is_needed():
    with pytest.raises(MissingSettingError, match="model_context"):
        derive(PROMPT, D.LOGITS, loss=logit_difference)
    with pytest.raises(NeuronExplainerError):
        derive(PROMPT, D.LOGITS, DstConfig())


def test_autoencoders_of_layers_that_were_not_given_are_refused_if_asked_for():
    whole = autoencoders("gpt2", MLP)
    some = type(whole).from_autoencoders(MLP, {1: whole.get_autoencoder(1)})
    with pytest.raises(AutoencoderMismatchError, match="no autoencoder for layer 2"):
        derived("gpt2", D.AUTOENCODER_LATENT, autoencoder_context=some, layer_indices=[1, 2])


def test_the_guard_of_these_tests_works():
    with pytest.raises(AssertionError, match="the model ran"):
        derived("gpt2", D.LOGITS)
    assert torch.is_grad_enabled()


_OF_THE_WRONG_KIND = """
import numpy as np
import neuron_explainer as ne
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex, NodeIndex

model, D = ne.load_model("tiny"), ne.DerivedScalarType
config = ne.DstConfig(model_context=model)
node = NodeIndex("mlp_neuron", 0, (0, 0))
ablation = AblationSpec(ActivationIndex("mlp.post_act", 0, (0, 0)), 0.0)
model.get_or_create_model().forward = None
for number, call in enumerate([
    lambda: ne.derive(b"ab", D.LOGITS, config),
    lambda: ne.derive([True], D.LOGITS, config),
    lambda: ne.derive([1], D.LOGITS, "tiny"),
    lambda: ne.derive([1], None, config),
    lambda: ne.derive([1], [[D.LOGITS]], config),
    lambda: ne.derive([1], D.LOGITS, config, ablations=ablation.index),
    lambda: ne.derive([1], D.LOGITS, config, ablations=5),
    lambda: ne.derive([1], D.LOGITS, config, ablations=[0.0]),
    lambda: ne.LossFnConfig("probs", [1.5]),
    lambda: ne.LossFnConfig("probs", [True]),
    lambda: ne.DstConfig(model),
    lambda: ne.DstConfig(derive_gradients=1, model_context=model),
    lambda: ne.DstConfig(model_context=model, detach_layer_norm_scale_for_attribution=None),
    lambda: ne.DstConfig(model_context=model, inference_engine_type="other"),
    lambda: ne.TraceConfig(node, "pre", "yes"),
    lambda: ne.DstConfig(model_context="tiny"),
    lambda: ne.DstConfig(model_context=model.get_or_create_model()),
    lambda: ne.DstConfig(model_context=model, trace_config=node),
    lambda: ne.DstConfig(model_context=model, layer_indices="1"),
    lambda: ne.DstConfig(model_context=model, layer_indices=[True]),
    lambda: model.get_weight("embeddings"),
]):
    try:
        call()
    except NeuronExplainerError:
        continue
    raise SystemExit(f"call {number} was not refused")
assert ne.LossFnConfig("probs", 5).target_tokens == (5,)
assert ne.LossFnConfig("PROBS", np.int64(5)).target_tokens == (5,)
layers = ne.DstConfig(model_context=model, layer_indices=np.array([2, 0])).layer_indices
assert layers == [2, 0] and {type(layer) for layer in layers} == {int}
"""


def test_arguments_of_the_wrong_kind_are_refused_where_nothing_checks_annotations():
    """In a process of its own, for these tests' own check of annotations would refuse them first."""
    subprocess.run([sys.executable, "-c", _OF_THE_WRONG_KIND], check=True)


def test_a_model_in_the_place_of_derive_gradients_is_answered_with_the_right_field():
    code = (
        "import neuron_explainer as ne\n"
        "try:\n    ne.DstConfig(ne.load_model('tiny'))\n"
        "except ne.errors.MisconfiguredError as error:\n    assert 'DstConfig(model_context=model)' in str(error)\n"
        "else:\n    raise SystemExit('it was taken')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
