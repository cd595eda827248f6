"""The vocabulary of derived scalars: values, axes, node types, and that it says what the derivers need."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from benchmarks.every_scalar import request_for
from helpers.derived_scalars import N_LAYERS, PROMPT, autoencoders, context, derived
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.derivers import catalogue  # noqa: F401  # fills the table
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import DERIVERS
from neuron_explainer.activations.derived_scalars.indexing import (
    ActivationIndex,
    AttnSubNodeIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.errors import InvalidRequestError, NothingToDifferentiateError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import AttnSubNode, LocationWithinLayer, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


def test_each_is_computed():
    assert {dst for dst, pass_type in DERIVERS if pass_type is PassType.FORWARD} == set(D)


def test_values_are_the_names_in_lower_case():
    assert D("unflattened_attn_write_norm") is D.UNFLATTENED_ATTN_WRITE_NORM
    assert all(dst.value == dst.name.lower() for dst in D)


def test_the_vocabulary_needs_no_torch():
    code = (
        "import sys; from neuron_explainer.activations.derived_scalars import DerivedScalarType, LossFnConfig; "
        "DerivedScalarType.MLP_WRITE.node_type; LossFnConfig('zero'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("dst", "dimensions", "node_type", "location"),
    [
        (
            D.MLP_WRITE,
            (Dimension.SEQUENCE_TOKENS, Dimension.MLP_ACTS, Dimension.RESIDUAL_STREAM_CHANNELS),
            NodeType.MLP_NEURON,
            LocationWithinLayer.MLP,
        ),
        (
            D.ATTN_WRITE_NORM,
            (Dimension.SEQUENCE_TOKEN_PAIRS, Dimension.ATTN_HEADS),
            NodeType.ATTENTION_HEAD,
            LocationWithinLayer.ATTN,
        ),
        (D.TOKEN_ATTRIBUTION, (Dimension.SEQUENCE_TOKENS, Dimension.SINGLETON), NodeType.TOKEN, None),
        (D.LOGITS, (Dimension.SEQUENCE_TOKENS, Dimension.VOCAB_SIZE), NodeType.VOCAB_TOKEN, None),
        (
            D.ONLINE_ATTENTION_AUTOENCODER_LATENT,
            (Dimension.SEQUENCE_TOKENS, Dimension.AUTOENCODER_LATENTS),
            NodeType.ATTENTION_AUTOENCODER_LATENT,
            LocationWithinLayer.ATTN,
        ),
        (
            D.AUTOENCODER_LATENT,
            (Dimension.SEQUENCE_TOKENS, Dimension.AUTOENCODER_LATENTS),
            NodeType.AUTOENCODER_LATENT,
            None,
        ),
        (
            D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
            (Dimension.SEQUENCE_TOKEN_PAIRS, Dimension.SINGLETON),
            NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR,
            LocationWithinLayer.ATTN,
        ),
    ],
)
def test_axes_node_types_and_locations(dst, dimensions, node_type, location):
    assert dst.shape_spec_per_token_sequence == dimensions
    assert dst.node_type is node_type
    assert dst.location_within_layer is location
    assert dst.is_autoencoder_latent is node_type.is_autoencoder_latent


def test_raw_activations_have_the_axes_and_locations_of_their_places():
    for dst in D:
        if dst.is_raw_activation:
            place = dst.to_activation_location_type()
            assert D.from_activation_location_type(place) is dst
            assert dst.shape_spec_per_token_sequence == place.shape
            assert dst.has_no_layers == place.has_no_layers
            assert dst.node_type is place.node_type
            if dst is not D.ONLINE_AUTOENCODER_LATENT:  # which may be of any place
                assert dst.location_within_layer is place.location_within_layer


def test_not_every_place_and_type_has_a_counterpart():
    with pytest.raises(InvalidRequestError, match="mlp_ln"):
        D.from_activation_location_type(ActivationLocationType.RESID_POST_MLP_LAYER_NORM)
    with pytest.raises(InvalidRequestError, match="computed"):
        D.MLP_WRITE.to_activation_location_type()


def test_generic_autoencoder_types_become_those_of_one_autoencoder():
    mlp, attention = NodeType.MLP_AUTOENCODER_LATENT, NodeType.ATTENTION_AUTOENCODER_LATENT
    assert D.AUTOENCODER_LATENT.update_from_autoencoder_node_type(mlp) is D.MLP_AUTOENCODER_LATENT
    assert (
        D.ONLINE_AUTOENCODER_WRITE_NORM.update_from_autoencoder_node_type(attention)
        is D.ONLINE_ATTENTION_AUTOENCODER_WRITE_NORM
    )
    assert D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION.update_from_autoencoder_node_type(mlp) is (
        D.ONLINE_AUTOENCODER_OUT_EDGE_ATTRIBUTION
    )
    assert D.MLP_AUTOENCODER_LATENT.update_from_autoencoder_node_type(attention) is D.MLP_AUTOENCODER_LATENT
    assert D.MLP_POST_ACT.update_from_autoencoder_node_type(mlp) is D.MLP_POST_ACT
    assert D.AUTOENCODER_LATENT.update_from_autoencoder_node_type(None) is D.AUTOENCODER_LATENT


TRACE = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 2, (4, 6)), PreOrPostAct.PRE)
EVERYTHING: dict[str, Any] = {
    "node_index_for_attribution": AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 1, (4, 2, 1), q_k_or_v=AttnSubNode.V),
    "activation_index_for_fake_grad": ActivationIndex(ActivationLocationType.MLP_POST_ACT, 1, (4, 6)),
    "layer_indices": [2],
}


def needed_by(dst, config):
    """What is recorded for any layer; a type can be zero in some, and then needs nothing."""
    setting = BoundConfig(config, context("gpt2").get_or_create_model(), (0, 1, 2))
    deriver = DERIVERS[dst, PassType.FORWARD]
    return [
        each for layer in ([None] if dst.has_no_layers else [0, 1, 2]) for each in deriver.recordings(setting, layer)
    ]


@pytest.mark.parametrize("dst", D)
def test_a_type_says_that_it_needs_a_gradient_exactly_where_its_deriver_does(dst):
    """With a trace at the end of the model everything before it is differentiated, so that nothing is skipped."""
    trace = TraceConfig(NodeIndex(NodeType.VOCAB_TOKEN, None, (5, 6)), PreOrPostAct.POST)
    needs_latent = "TO_LATENT" in dst.name or "LATENT_GRAD" in dst.name
    config = DstConfig(
        model_context=context("gpt2"),
        autoencoder_context=autoencoders("gpt2", request_for(dst).place),
        trace_config=TRACE if needs_latent else trace,
        **EVERYTHING,
    )
    recorded = needed_by(dst, config)
    assert dst.requires_grad_for_pass_type(PassType.FORWARD) == any(
        each.pass_type is PassType.BACKWARD for each in recorded
    )
    assert dst.requires_grad_for_pass_type(PassType.BACKWARD)


@pytest.mark.parametrize("dst", D)
def test_every_type_has_the_axes_that_it_says(dst):
    """The store refuses tensors of other axes; here is that every type can be had, in the layers one would expect."""
    needs_latent = "TO_LATENT" in dst.name or "LATENT_GRAD" in dst.name
    needs_trace = needs_latent or "FINAL_ACTIVATION" in dst.name
    store = derived(
        "gpt2",
        dst,
        autoencoder_context=autoencoders("gpt2", request_for(dst).place),
        trace_config=TRACE if needs_trace else None,
        **{**EVERYTHING, "layer_indices": [2]},
    )
    by_layer = store.activations(dst)
    if dst.has_no_layers:
        assert list(by_layer) == [None]
    else:
        is_of_node = dst.name.startswith(("SINGLE_NODE", "GRAD_OF_SINGLE"))
        assert list(by_layer) == [1 if is_of_node else 2]
    sizes = {
        Dimension.SEQUENCE_TOKENS: len(PROMPT),
        Dimension.ATTENDED_TO_SEQUENCE_TOKENS: len(PROMPT),
        Dimension.SEQUENCE_TOKEN_PAIRS: len(PROMPT) * (len(PROMPT) + 1) // 2,
        Dimension.AUTOENCODER_LATENTS: 24,
        **{dimension: size for dimension in Dimension if (size := context("gpt2").config.size_of(dimension))},
    }
    for tensor in by_layer.values():
        assert tuple(tensor.shape) == tuple(sizes[dimension] for dimension in dst.shape_spec_per_token_sequence)
        assert tensor.dtype == torch.float64
        assert not tensor.requires_grad


def test_gradients_are_had_of_raw_activations_only_when_asked():
    plain = derived("gpt2", [D.MLP_POST_ACT, D.MLP_WRITE_NORM])
    assert PassType.BACKWARD not in {pass_type for _, pass_type, _ in plain.contents()}
    both = derived("gpt2", [D.MLP_POST_ACT, D.MLP_WRITE_NORM], derive_gradients=True)
    assert list(both.activations(D.MLP_POST_ACT, PassType.BACKWARD)) == list(range(N_LAYERS))
    with pytest.raises(NothingToDifferentiateError):
        derived("gpt2", D.MLP_POST_ACT, loss=None, derive_gradients=True)


def test_a_bfloat16_model_gives_bfloat16_results_near_those_of_float64():
    exact = context("gemma2").get_or_create_model()
    rounded = Transformer(exact.config)
    rounded.load_state_dict(
        {name: weight.to(torch.bfloat16) for name, weight in exact.state_dict().items()}, assign=True
    )
    config = DstConfig(model_context=StandardModelContext("rounded", rounded))
    dsts = [D.MLP_WRITE_NORM, D.UNFLATTENED_ATTN_WRITE_NORM, D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD]
    store = derive(PROMPT, dsts, config, loss=lambda logits: logits[-1, 7] - logits[-1, 11])
    expected = derived("gemma2", dsts)
    for dst in dsts:
        actual = store.activations(dst)[0]
        assert actual.dtype == torch.bfloat16
        difference = (actual.double() - expected.activations(dst)[0]).norm()
        assert difference < 0.1 * expected.activations(dst)[0].norm()
