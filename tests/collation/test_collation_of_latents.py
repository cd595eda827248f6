"""Collating latents: the layers are those that have an autoencoder."""

import json
from pathlib import Path

import torch

import neuron_explainer as ne
from helpers.collation_models import model_context, random_texts
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder


def test_the_layers_are_those_with_an_autoencoder(tmp_path: Path) -> None:
    context = model_context(dtype=torch.float32)
    generator, width = torch.Generator().manual_seed(0), context.n_neurons
    encoder = torch.randn(7, width, generator=generator)
    autoencoder = Autoencoder(encoder, encoder.T.contiguous(), torch.zeros(width), torch.zeros(7))
    autoencoders = AutoencoderContext.from_autoencoders(ne.DerivedScalarType.MLP_POST_ACT, {1: autoencoder})
    config = ne.DstConfig(model_context=context, autoencoder_context=autoencoders)
    dst = "online_autoencoder_latent"
    path = ne.collate(context, random_texts(5), tmp_path / "a", dst, config=config, context_length=8, progress=False)
    assert json.loads((path / "dataset.json").read_text())["layer_indices"] == [1]
