"""Total effects of an autoencoder's latents where one of them is overwritten, in an answer and in a trace."""

import pytest

import neuron_explainer as ne
from helpers.derived_scalars import PROMPT, autoencoders, close, context, derived, logit_difference
from neuron_explainer.attribution import attribute
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

EFFECT = D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD


@pytest.mark.parametrize("place", [D.RESID_POST_ATTN, D.RESID_POST_MLP])
@pytest.mark.parametrize("layer", [1, 2])
def test_total_effects_beside_an_overwritten_latent(place: D, layer: int) -> None:
    own = autoencoders("gpt2", place)
    why = attribute(context("gpt2"), PROMPT, 7, 11, autoencoders=own)
    name = f"L{layer}A{int(why.store.activations(EFFECT)[layer][-1].abs().argmax())}@5"
    less = why.ablate(name).store.activations(EFFECT)[layer]
    assert bool(less.any())
    ablations = [ne.parse_node(name).to_ablation(0)]
    by_loss = derived("gpt2", EFFECT, loss=logit_difference, ablations=ablations, autoencoder_context=own)
    close(less, by_loss.activations(EFFECT)[layer])


def test_total_effects_on_a_trace() -> None:
    own = autoencoders("gpt2", D.RESID_POST_MLP)
    why = attribute(context("gpt2"), PROMPT, 7, 11, autoencoders=own)
    up = why.trace("L2N3@4")
    first, second = up.nodes(2, kinds="latent", layers=1).index
    less = up.ablate(first)
    activation = float(less.store.activations(D.ONLINE_AUTOENCODER_LATENT)[1][second.tensor_indices])
    checked = less.verify([second], value=activation - 1e-5)
    assert checked["estimate"].iloc[0] == pytest.approx(checked["measured"].iloc[0], rel=1e-3)
    assert checked["measured"].iloc[0] != 0
