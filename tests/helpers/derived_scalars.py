"""Small models as contexts, and random autoencoders for them, that the tests of derived scalars share."""

import functools

import torch

from benchmarks.small_models import number_tokenizer, random_autoencoders
from helpers.tiny_models import our_model
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.models.model_context import StandardModelContext

PROMPT = [5, 17, 3, 44, 17, 20]
N_LAYERS = 3
TARGET, DISTRACTOR = 7, 11


def logit_difference(logits):
    return logits[-1, TARGET] - logits[-1, DISTRACTOR]


@functools.cache
def context(family, dtype=torch.float64):
    """A model whose 61 tokens are spelled t0 to t60."""
    return StandardModelContext(family, our_model(family, dtype), number_tokenizer())


def derived(family, dsts, *, prompt=PROMPT, loss=logit_difference, ablations=(), **config):
    settings = DstConfig(model_context=context(family), **config)
    return derive(prompt, dsts, settings, loss=loss, ablations=ablations)


def autoencoders(family, dst, **options):
    """Random autoencoders of all layers; see `random_autoencoders`."""
    return random_autoencoders(context(family), dst, **options)


def close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=tolerance,
        atol=tolerance,
    )
