"""Neighbours by what components write and read: cosines against all directions by hand."""

from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from helpers.collation_models import changeable_context, model_context, transformer_of
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, UnknownNameError

DST = ne.DerivedScalarType
FAMILIES = ["gpt2", "llama", "gemma2", "olmo2", "mixtral"]


def centred(rows: torch.Tensor, context: ne.StandardModelContext) -> torch.Tensor:
    return rows - rows.mean(-1, keepdim=True) if context.config.norm_kind == "layer_norm" else rows


def gain_of(norm: Any) -> Any:
    return 1.0 if norm is None else norm.effective_gain


def directions(context: ne.StandardModelContext, by: str, layer: int) -> torch.Tensor:
    block = transformer_of(context).blocks[layer]
    if by == "write":
        return block.mlp.output_weight.T * gain_of(block.mlp_post_norm)
    return centred(block.mlp.input_weight * gain_of(block.mlp_norm), context)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one @ one).sqrt() / (other @ other).sqrt())


@pytest.mark.parametrize("by", ["write", "read"])
@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_have_the_cosines_of_their_directions(family, by):
    context = model_context(family)
    table = ne.component(context, "L1N7").neighbours(10**4, by)
    own = directions(context, by, 1)[7]
    expected = {
        f"L{layer}N{neuron}": cosine(own, row)
        for layer in range(context.n_layers)
        for neuron, row in enumerate(directions(context, by, layer))
        if (layer, neuron) != (1, 7)
    }
    assert dict(zip(table["name"], table["cosine"], strict=True)) == pytest.approx(expected, abs=1e-9)
    assert table["cosine"].is_monotonic_decreasing
    first = ne.component(context, "L1N7").neighbours(3, by)
    assert first["name"].tolist() == table["name"].head(3).tolist()


@pytest.mark.parametrize("by", ["write", "read"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_has_the_cosine_1_and_its_opposite_minus_1(family, by):
    context = changeable_context(family)
    blocks = transformer_of(context).blocks
    read, write = blocks[2].mlp.input_weight, blocks[2].mlp.output_weight
    if context.config.n_experts:
        expert = blocks[2].mlp.experts[0]
        read, write = expert.input_weight, expert.output_weight
    own = directions(context, by, 1)[7]
    if by == "write":
        gain = gain_of(blocks[2].mlp_post_norm)
        write[:, 3], write[:, 4] = own / gain, -2 * own / gain
    else:
        gain = gain_of(blocks[2].mlp_norm)
        read[3], read[4] = own / gain, -2 * own / gain
    table = ne.component(context, "L1N7").neighbours(10**4, by)
    assert table["name"].iloc[0] == "L2N3"
    assert table["cosine"].iloc[0] == pytest.approx(1)
    assert table["name"].iloc[-1] == "L2N4"
    assert table["cosine"].iloc[-1] == pytest.approx(-1)


def test_changed_weights_are_seen():
    context = changeable_context("llama")
    node = ne.component(context, "L1N7")
    before = node.neighbours(3)
    with torch.no_grad():
        transformer_of(context).blocks[0].mlp.output_weight[:, 5] = (
            transformer_of(context).blocks[1].mlp.output_weight[:, 7]
        )
    after = node.neighbours(3)
    assert before["name"].iloc[0] != "L0N5"
    assert (after["name"].iloc[0], after["cosine"].iloc[0]) == ("L0N5", pytest.approx(1))


def test_layers_are_those_asked_for():
    context = model_context("gpt2")
    assert set(ne.component(context, "L1N7").neighbours(99, layers=[0, 2])["layer"]) == {0, 2}
    assert set(ne.component(context, "L1N7").neighbours(99, layers=1)["layer"]) == {1}
    with pytest.raises(InvalidRequestError, match="has no layer 9"):
        ne.component(context, "L1N7").neighbours(layers=9)


def test_a_neuron_without_a_write_has_no_neighbours_and_is_none():
    context = changeable_context("gpt2")
    blocks = transformer_of(context).blocks
    blocks[0].mlp.output_weight[:, 5] = 0
    assert "L0N5" not in set(ne.component(context, "L1N7").neighbours(10**4)["name"])
    assert len(ne.component(context, "L0N5").neighbours(10)) == 0


# Latents


def test_latents_are_compared_by_decoder_and_by_encoder():
    context = model_context("llama")
    autoencoders = random_autoencoders(context, DST.RESID_POST_MLP)
    node = ne.component(context, "L1A7", autoencoders=autoencoders)
    both: Any = (("write", lambda each: each.decoder_weight.T), ("read", lambda each: each.encoder_weight))
    for by, rows_of in both:
        table = node.neighbours(10**4, by)
        own = rows_of(autoencoders.get_autoencoder(1))[7]
        expected = {
            f"L{layer}A{latent}": cosine(own, row)
            for layer in range(3)
            for latent, row in enumerate(rows_of(autoencoders.get_autoencoder(layer)))
            if (layer, latent) != (1, 7)
        }
        assert dict(zip(table["name"], table["cosine"], strict=True)) == pytest.approx(expected, abs=1e-9)


def test_a_latent_is_aligned_with_neurons_and_they_with_it():
    context = changeable_context("gpt2")
    autoencoders = random_autoencoders(context, DST.RESID_POST_MLP)
    decoder = autoencoders.get_autoencoder(1).decoder_weight
    decoder[:, 7] = 3 * transformer_of(context).blocks[2].mlp.output_weight[:, 5]
    latent = ne.component(context, "L1A7", autoencoders=autoencoders)
    table = latent.neighbours(3, among="neuron")
    assert (table["name"].iloc[0], table["cosine"].iloc[0]) == ("L2N5", pytest.approx(1))
    assert "decoder_weight" not in table
    neuron = ne.component(context, "L2N5", autoencoders=autoencoders)
    table = neuron.neighbours(3, among="latent")
    assert (table["name"].iloc[0], table["cosine"].iloc[0]) == ("L1A7", pytest.approx(1))


def test_a_latent_of_activations_says_what_its_decoder_gives_each_neuron():
    context = model_context("llama")
    autoencoders = random_autoencoders(context, DST.MLP_POST_ACT)
    node = ne.component(context, "L1A7", autoencoders=autoencoders)
    table: Any = node.neighbours(10**4, among="neuron").set_index("name")
    decoder = autoencoders.get_autoencoder(1).decoder_weight[:, 7]
    own = transformer_of(context).blocks[1].mlp.output_weight @ decoder
    for neuron in (0, 13, 47):
        assert table.loc[f"L1N{neuron}", "decoder_weight"] == pytest.approx(float(decoder[neuron]))
        row = transformer_of(context).blocks[1].mlp.output_weight[:, neuron]
        assert table.loc[f"L1N{neuron}", "cosine"] == pytest.approx(cosine(own, row))
    assert np.isnan(table.loc["L0N3", "decoder_weight"])
    with pytest.raises(InvalidRequestError, match="do not read the residual stream itself"):
        node.neighbours(by="read")


# What cannot be asked


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"by": "smell"}, UnknownNameError, "Choose one of: read, write, activation"),
        ({"among": "mlp"}, UnknownNameError, "Choose one of: latent, head, neuron"),
        ({"among": "head"}, InvalidRequestError, "what a head writes and reads are matrices"),
        ({"among": "latent"}, NotAtHandError, "pass autoencoders="),
        ({"texts": ["w3"]}, InvalidRequestError, "Leave them out"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        ne.component(model_context("gpt2"), "L1N7").neighbours(**options)
