"""Autoencoders of one layer alone: answers, and traces of what lies before, in and after that layer."""

import pytest

from helpers.derived_scalars import PROMPT, autoencoders, context
from neuron_explainer.attribution import attribute
from neuron_explainer.errors import MisconfiguredError
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D


@pytest.mark.parametrize("place", [D.MLP_POST_ACT, D.RESID_DELTA_ATTN, D.RESID_POST_MLP])
def test_traces_with_an_autoencoder_of_one_layer(place: D) -> None:
    everywhere = autoencoders("gpt2", place)
    one = AutoencoderContext.from_autoencoders(place, {1: everywhere.get_autoencoder(1)})
    why = attribute(context("gpt2"), PROMPT, 7, 11, autoencoders=one)
    assert abs(why.residue) < 1e-10
    plain = attribute(context("gpt2"), PROMPT, 7, 11)
    for name, n_latents in (("L0H1@4<-2", 0), ("L0N3@4", 0), ("L2H1@4<-2", 3), ("L2N3@4", 3)):
        up = why.trace(name)
        assert up.value == pytest.approx(plain.trace(name).value, rel=1e-9)
        assert abs(up.residue) < 1e-10
        if n_latents:
            assert len(up.latents(n_latents)) == n_latents
            checked = up.verify(up.nodes(1, kinds="latent"))
            assert abs(float(checked["measured"].iloc[0])) > 0
        else:
            with pytest.raises(MisconfiguredError, match="No autoencoder of this answer lies upstream"):
                up.latents(3)
    (node,) = why.nodes(1, kinds="latent").index
    assert abs(why.trace(node).residue) < 1e-10
