"""Small models as contexts, and random autoencoders for them, that the tests of derived scalars share."""

import functools

import tokenizers
import torch

from helpers.tiny_models import our_model
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.latent_activations import LatentActivation, ReLU
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

PROMPT = [5, 17, 3, 44, 17, 20]
N_LAYERS = 3
TARGET, DISTRACTOR = 7, 11


def logit_difference(logits):
    return logits[-1, TARGET] - logits[-1, DISTRACTOR]


@functools.cache
def context(family, dtype=torch.float64):
    """A model whose 61 tokens are spelled t0 to t60."""
    vocabulary = {f"t{number}": number for number in range(61)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="t0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return StandardModelContext(family, our_model(family, dtype), ModelTokenizer.of(tokenizer))


def derived(family, dsts, *, prompt=PROMPT, loss=logit_difference, ablations=(), **config):
    settings = DstConfig(model_context=context(family), **config)
    return derive(prompt, dsts, settings, loss=loss, ablations=ablations)


def autoencoders(
    family, dst: DerivedScalarType, n_latents=24, activation: LatentActivation | None = None, bias=0.0, **options
):
    """Random autoencoders of all layers, about half of whose latents are active, or more with a positive bias."""
    config = context(family).config
    width = 1
    for dimension in dst.shape_spec_per_token_sequence[1:]:
        width *= config.size_of(dimension)
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return AutoencoderContext.from_autoencoders(
        dst,
        {
            layer: Autoencoder(
                random(n_latents, width),
                random(width, n_latents) * 0.1,
                random(width) * 0.1,
                random(n_latents) * 0.1 + bias,
                activation or ReLU(),
                **options,
            )
            for layer in range(N_LAYERS)
        },
    )


def close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=tolerance,
        atol=tolerance,
    )
