"""What neurons and latents write and read, against the model's own arithmetic and the derived scalar."""

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from helpers.collation_models import changeable_context, model_context, transformer_of
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.routed import dense

DST = ne.DerivedScalarType
FAMILIES = ["gpt2", "llama", "gemma2", "olmo2", "granite", "mixtral", "gpt_oss", "cohere"]
NEURON, LAYER, VOCAB = 40, 1, 61


def column(table, name="value"):
    """A column of a table of all tokens, by token id."""
    assert sorted(table["token_id"]) == list(range(VOCAB))
    return table.sort_values("token_id")[name].to_numpy()


def final_part(context: ne.StandardModelContext, resid: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The uncapped logits of a residual stream, the final norm's scale held."""
    model = transformer_of(context)
    normed = model.final_norm.apply_scale(resid, scale)
    bias = 0 if model.unembedding_bias is None else model.unembedding_bias
    return (normed @ model.unembedding_weight.T + bias) * model.config.logits_scale


@pytest.mark.parametrize("family", FAMILIES)
def test_a_neuron_s_write_is_what_a_unit_of_it_does_to_the_logits(family):
    """Along the model's own block: one more unit of activation, the scales of norms held, then their scales made 1."""
    context = model_context(family)
    model, block = transformer_of(context), transformer_of(context).blocks[LAYER]
    torch.manual_seed(0)
    resid, neurons = torch.randn(1, 32, dtype=torch.float64), torch.zeros(1, context.n_neurons, dtype=torch.float64)
    unit = neurons.clone()
    unit[0, NEURON] = 1
    scale = torch.tensor([[0.7]], dtype=torch.float64)
    written = []
    for acts in (neurons, unit):
        output = block.mlp.write(acts)
        if block.mlp_post_norm is not None:
            output = block.mlp_post_norm.apply_scale(output, torch.ones_like(scale))
        written.append(output * block.residual_multiplier)
    expected = final_part(context, resid + written[1], scale) - final_part(context, resid + written[0], scale)
    expected = (expected - expected.mean()) * scale
    table = ne.component(context, f"L{LAYER}N{NEURON}").writes(VOCAB)
    np.testing.assert_allclose(column(table), expected[0].numpy(), rtol=1e-9, atol=1e-10)
    assert table["token"].tolist() == [f"w{token}" for token in table["token_id"]]
    assert model.dtype == torch.float64


# The derived scalar of an expert's neuron is 0 where the router does not choose the expert; the next test has experts.
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "olmo2", "granite", "cohere", "qwen2", "phi", "gptj"])
def test_a_neuron_reads_what_the_derived_scalar_says(family):
    context = model_context(family)
    table = ne.component(context, f"L{LAYER}N{NEURON}").reads(VOCAB)
    index = ne.ActivationIndex("mlp.pre_act", LAYER, ("All", NEURON))
    config = ne.DstConfig(model_context=context, activation_index_for_fake_grad=index)
    dst = DST.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION
    by_layer = ne.derive("w3", dst, config).activations(dst)
    expected = next(iter(by_layer.values()))[0]
    np.testing.assert_allclose(column(table), expected.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_neuron_reads_what_its_layer_makes_of_the_embedding(family):
    context = model_context(family)
    model, block = transformer_of(context), transformer_of(context).blocks[LAYER]
    normed = block.mlp_norm(model.embedding * context.config.embedding_scale)
    table = ne.component(context, f"L{LAYER}N{NEURON}").reads(VOCAB)
    mlp, within = block.mlp, NEURON
    if context.config.n_experts:
        number, within = divmod(NEURON, block.mlp.d_expert)
        chosen, weights = block.mlp.route(normed)
        router = torch.zeros(VOCAB, context.config.n_experts, dtype=torch.float64)
        for token in range(VOCAB):
            for expert, weight in zip(chosen[token], weights[token], strict=True):
                router[token, expert] = weight
        np.testing.assert_allclose(column(table, "router_weight"), router[:, number].numpy(), rtol=1e-9)
        assert 0 < (router[:, number] == 0).sum() < VOCAB
        mlp = block.mlp.experts[number]
    np.testing.assert_allclose(column(table), mlp.pre_act(normed)[:, within].numpy(), rtol=1e-9, atol=1e-10)
    assert ("up" in table) == context.config.gated_mlp
    if context.config.gated_mlp:
        gate = mlp.pre_act(normed).clamp(max=mlp.gate_limit) if mlp.gate_limit else mlp.pre_act(normed)
        gain = mlp.activation_gain
        product = mlp.activation_function(gate[:, within] * gain) / gain * torch.tensor(column(table, "up"))
        acts = dense(mlp.post_act(normed))[:, within]
        np.testing.assert_allclose(product.numpy(), acts.numpy(), rtol=1e-8, atol=1e-10)


PLACES = [
    DST.RESID_POST_MLP,
    DST.RESID_POST_ATTN,
    DST.MLP_POST_ACT,
    DST.RESID_DELTA_MLP,
    DST.RESID_DELTA_ATTN,
    DST.ATTN_WEIGHTED_SUM_OF_VALUES,
]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mixtral"])
@pytest.mark.parametrize("dst", PLACES)
def test_a_latent_writes_its_decoder_s_row_and_reads_by_its_encoder(family, dst):
    context = model_context(family)
    autoencoders = random_autoencoders(context, dst)
    node = ne.component(context, f"L{LAYER}A7", autoencoders=autoencoders)
    block, row = transformer_of(context).blocks[LAYER], autoencoders.get_autoencoder(LAYER).decoder_weight[:, 7]
    norm = None
    if dst is DST.MLP_POST_ACT:
        row, norm = block.mlp.output_weight @ row, block.mlp_post_norm
    elif dst is DST.ATTN_WEIGHTED_SUM_OF_VALUES:
        row, norm = block.attention.output_weight @ row, block.attention_post_norm
    if norm is not None:
        row = norm.apply_scale(row, torch.ones(1, dtype=torch.float64))
    one = torch.ones(1, 1, dtype=torch.float64)
    expected = final_part(context, row[None], one) - final_part(context, torch.zeros_like(row)[None], one)
    expected = expected - expected.mean()
    np.testing.assert_allclose(column(node.writes(VOCAB)), expected[0].numpy(), rtol=1e-8, atol=1e-9)
    index = node.name.to_node_index()
    place = {
        "autoencoder_latent": "online_autoencoder_latent",
        "mlp_autoencoder_latent": "online_mlp_autoencoder_latent",
        "attention_autoencoder_latent": "online_attention_autoencoder_latent",
    }[node.dst.value]
    config = ne.DstConfig(
        model_context=context,
        autoencoder_context=autoencoders,
        activation_index_for_fake_grad=ne.ActivationIndex(
            getattr(ne.ActivationLocationType, place.upper()), LAYER, ("All", 7)
        ),
    )
    scalar = DST.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION
    read = next(iter(ne.derive("w3", scalar, config).activations(scalar).values()))[0]
    np.testing.assert_allclose(column(node.reads(VOCAB)), read.numpy(), rtol=1e-8, atol=1e-9)
    assert index.layer_index == LAYER


def test_a_latent_behind_a_nonlinearity_has_no_write():
    context = model_context("llama")
    node = ne.component(context, "L1A7", autoencoders=random_autoencoders(context, DST.MLP_PRE_ACT))
    with pytest.raises(InvalidRequestError, match="through a nonlinearity"):
        node.writes()
    assert len(node.reads(3)) == 6


def test_a_latent_that_the_autoencoder_lacks_is_refused():
    context = model_context("llama")
    node = ne.component(context, "L1A24", autoencoders=random_autoencoders(context, DST.RESID_POST_MLP))
    for ask in (node.writes, node.reads, node.neighbours):
        with pytest.raises(InvalidRequestError, match="no latent 24; latents: 0–23"):
            ask()


# Identities


def test_a_neuron_that_reads_a_token_s_own_row_ranks_it_first():
    context = changeable_context("llama")
    model, block = transformer_of(context), transformer_of(context).blocks[LAYER]
    normed = block.mlp_norm(model.embedding)
    unit = normed / normed.norm(dim=1, keepdim=True)
    loudest = int(normed.norm(dim=1).argmax())
    block.mlp.input_weight[NEURON] = unit[loudest]
    table = ne.component(context, f"L{LAYER}N{NEURON}").reads(1)
    assert table["token_id"].iloc[0] == loudest
    assert table["value"].iloc[0] == pytest.approx(float(normed[loudest].norm()))


def test_values_sum_to_zero_and_are_in_order():
    table = ne.component("tiny", "L1N355").writes(4)
    assert len(table) == 8
    assert table["value"].is_monotonic_decreasing
    whole = ne.component("tiny", "L1N355").writes(10**6)["value"]
    assert abs(whole.sum()) < 1e-3
    assert whole.nlargest(4).tolist() == table["value"].head(4).tolist()
    assert sorted(whole.nsmallest(4)) == sorted(table["value"].tail(4))


def test_half_precision_is_computed_in_float32():
    context = changeable_context("llama")
    half = ne.StandardModelContext(
        "half", transformer_of(changeable_context("llama", torch.float32)).bfloat16(), context.tokenizer
    )
    table = ne.component(half, "L1N40").reads(VOCAB)
    model = transformer_of(changeable_context("llama", torch.float32)).bfloat16().float()
    rounded = ne.StandardModelContext("rounded", model, context.tokenizer)
    expected = column(ne.component(rounded, "L1N40").reads(VOCAB))
    np.testing.assert_allclose(column(table), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [0, -1, 2.5, "3"])
def test_n_is_a_whole_number_above_0(n):
    node = ne.component("tiny", "L1N355")
    for ask in (node.writes, node.reads, node.neighbours):
        with pytest.raises(InvalidRequestError, match="n "):
            ask(n)
