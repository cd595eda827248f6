"""Saved answers from outside."""

import functools
from pathlib import Path
from typing import Any

import torch

import neuron_explainer as ne
from fuzz.target import Scene, Target, scenes_of
from fuzz.tensor_mutations import mutated_safetensors
from helpers.collation_models import model_context
from helpers.derived_scalars import PROMPT, autoencoders, context
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType

_FILE = "why.safetensors"


@functools.cache
def _model() -> StandardModelContext:
    return model_context()


def _answers() -> list[Any]:
    one = ne.attribute(_model(), "w1 w2 w3", " w4", " w5")
    several = ne.attribute(_model(), "w1 w2 w3", " w4 w5", " w6")
    index = ne.ActivationIndex("mlp.post_act", 0, ("All", 3))
    latents = autoencoders("gemma2", DerivedScalarType.MLP_POST_ACT)
    return [
        one.ablate(ne.TensorAblation(index, torch.arange(3.0))),
        several.ablate("L0H0"),
        one.trace("L0H1"),
        ne.attribute(context("mixtral"), PROMPT, 7, 11),
        ne.attribute(context("gemma2"), PROMPT, 7, autoencoders=latents),
    ]


def _scenes(folder: Path) -> list[Scene]:
    scenes = []
    for number, why in enumerate(_answers()):
        why.save(folder / str(number) / _FILE)
        scenes += scenes_of(folder / str(number), {_FILE: mutated_safetensors})
    return scenes


def _read(folder: Path) -> None:
    why = ne.load_attribution(folder / _FILE)
    assert repr(why)
    why.parts()
    for by in ("activation", "direct_effect", "total_effect"):
        why.nodes(5, by)
    why.heads(3)
    why.neurons(3)
    why.tokens()
    if any(group.node_type is NodeType.AUTOENCODER_LATENT for group in why.groups[0]):
        why.latents(3)
    try:
        why.next_tokens(3)
        why.answers()
    except InvalidRequestError:  # of a trace
        assert why.effects[0].logits is None or not len(why.effects[0].logits)
    for step in why.history:
        assert repr(step.nodes)
        assert repr(step.parts)
    try:
        again = ne.load_attribution(folder / _FILE, _model())
        again.nodes(3, "write_norm")
        again.ablate("L0H1@1")
    except MisconfiguredError:
        return


TARGETS = [Target("attribution", _scenes, _read)]
