"""Arguments that only look as if they could be gone through, or compared, are refused by an error of this package."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import small_context
from neuron_explainer.errors import NeuronExplainerError

CLEAN, CORRUPTED, ANSWERS = [5, 9, 12, 7], [5, 9, 41, 7], (11, 23)


def patched(name: str) -> Callable[[Any, Any], Any]:
    return lambda model, odd: ne.patch(model, CLEAN, CORRUPTED, ANSWERS, **{name: odd})


def along_paths(name: str) -> Callable[[Any, Any], Any]:
    return lambda model, odd: ne.path_patch(model, CLEAN, CORRUPTED, ANSWERS, **{name: odd})


def steered(name: str) -> Callable[[Any, Any], Any]:
    return lambda model, odd: ne.steer(model, torch.ones(32), **{name: odd})


def read(name: str) -> Callable[[Any, Any], Any]:
    return lambda model, odd: ne.lens(model, CLEAN, **{name: odd})


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    **{f"patch, {name}": patched(name) for name in ("at", "by", "positions", "autoencoders", "progress", "direction")},
    "patch, metric": lambda model, odd: ne.patch(model, CLEAN, CORRUPTED, odd),
    **{f"path_patch, {name}": along_paths(name) for name in ("senders", "receivers", "freeze", "by", "progress")},
    **{f"steer, {name}": steered(name) for name in ("layers", "positions", "mode", "autoencoders")},
    **{f"lens, {name}": read(name) for name in ("kind", "of", "positions", "layers", "top", "progress")},
    "attention": lambda model, odd: ne.attention(model, CLEAN, layers=odd),
    "log_probability": lambda model, odd: ne.steer(model, torch.ones(32)).log_probability(CLEAN, odd),
    "merge_jacobian_lenses": lambda model, odd: ne.merge_jacobian_lenses(odd),
    "fit_jacobian_lens": lambda model, odd: ne.fit_jacobian_lens(model, odd, "never.pt"),
    "PromptPairs": lambda model, odd: ne.PromptPairs(odd),
}
ODD = [np.array(1.5), torch.tensor(1.5), np.array("a"), np.array([0.5, 1.5]), np.array([]), torch.tensor([0.5, 1.5])]


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return small_context("gpt2")


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_are_refused(model: ne.ModelContext, name: str) -> None:
    for odd in ODD:
        with pytest.raises(NeuronExplainerError):
            CALLS[name](model, odd)
