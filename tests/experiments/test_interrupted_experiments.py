"""An interrupt at any layer of any pass of an experiment leaves the model, torch's modes and files as they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import small_context
from neuron_explainer.experiments.lenses.jacobian import fit_state, fitting
from neuron_explainer.models.watching import watched_passes

CLEAN, CORRUPTED, ANSWERS = [5, 9, 12, 7, 3], [5, 9, 41, 7, 33], (11, 23)
TEXTS = [CLEAN, CORRUPTED, CLEAN[::-1]]


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[-1, 11] - logits[-1, 23]


def patched(**options: Any) -> Callable[[ne.ModelContext], Any]:
    return lambda model: ne.patch(model, CLEAN, CORRUPTED, ANSWERS, **options).values


def steering(model: ne.ModelContext, **options: Any) -> Any:
    return ne.steer(model, [(CLEAN, CORRUPTED)], layers=[0, 1], **options)


CALLS: dict[str, Callable[[ne.ModelContext], Any]] = {
    "patch, exact": patched(at="heads"),
    "patch, exact, from a layer on": patched(at="resid"),
    "patch, gradient": patched(at="neurons", method="gradient", check=2),
    "patch, integrated": patched(at="attn", method="integrated", steps=2, check=1),
    "patch, a function": lambda model: ne.patch(model, CLEAN, CORRUPTED, difference, at="mlp").values,
    "path_patch": lambda model: ne.path_patch(model, CLEAN, CORRUPTED, ANSWERS, "heads", "L2H1").values,
    "lens": lambda model: ne.lens(model, CLEAN).read.logits,
    "attention": lambda model: ne.attention(model, CLEAN).pattern(2, 1),
    "log_probability": lambda model: steering(model, freeze_attention=True).log_probability(CLEAN, [3]).log_probability,
    "generate": lambda model: steering(model).generate(CLEAN, max_new_tokens=2).rows[1].token_ids,
    "steering_direction": lambda model: steering(model).direction.at(1),
}


def interrupted_at(number: int, work: Callable[[], Any]) -> KeyboardInterrupt | None:
    """Work with an interrupt at a layer of its passes, forward or backward; None if there are fewer."""
    told = []

    def tell(fraction: float) -> None:
        told.append(fraction)
        if len(told) == number:
            raise KeyboardInterrupt

    try:
        with watched_passes(tell):
            work()
    except KeyboardInterrupt as interrupt:
        return interrupt  # with its traceback, whose frames stay alive as in a notebook
    return None


@pytest.mark.parametrize("name", CALLS)
def test_every_layer_of_every_pass(name: str) -> None:
    model = small_context("gpt2")
    transformer, tokens, call = model.get_or_create_model(), torch.tensor([CLEAN]), CALLS[name]
    plain, expected = transformer(tokens), np.asarray(call(model))
    kept: list[KeyboardInterrupt] = []
    while (interrupt := interrupted_at(len(kept) + 1, lambda: call(model))) is not None:
        kept.append(interrupt)
        assert not transformer.active_interventions
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert torch.equal(transformer(tokens), plain)
    assert len(kept) > 2
    assert np.array_equal(np.asarray(call(model)), expected)


def fitted(model: ne.ModelContext, out: Path) -> ne.JacobianLens:
    return ne.fit_jacobian_lens(model, TEXTS, out, skip_first=1, dim_batch=16)


def test_a_fit_goes_on_from_wherever_it_was_interrupted(tmp_path: Path) -> None:
    model = small_context("gpt2")
    plain, whole = model.get_or_create_model()(torch.tensor([CLEAN])), fitted(model, tmp_path / "whole.safetensors")
    number = 0
    while True:
        number += 1
        out = tmp_path / f"{number}.safetensors"
        if interrupted_at(number, lambda out=out: fitted(model, out)) is None:  # type: ignore[misc]
            break
        assert not out.exists()
        assert torch.equal(model.get_or_create_model()(torch.tensor([CLEAN])), plain)
        assert torch.equal(fitted(model, out).matrices[0], whole.matrices[0])
    assert number > 6


class _InterruptsTheSecond(dict[int, Any]):
    """Sums, of which the second layer's is never changed the second time."""

    def __setitem__(self, layer: int, value: Any) -> None:
        if layer == 1 and layer in self:
            raise KeyboardInterrupt
        super().__setitem__(layer, value)


def test_sums_of_half_a_prompt_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = small_context("gpt2"), tmp_path / "lens.safetensors"
    whole = fitted(model, tmp_path / "whole.safetensors")
    read = fit_state.read_fit_state
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "read_fit_state", lambda *given: _with_sums(read(*given), _InterruptsTheSecond()))
        with pytest.raises(KeyboardInterrupt):
            fitted(model, out)
    for layer, matrix in fitted(model, out).matrices.items():
        assert torch.equal(matrix, whole.matrices[layer])


def _with_sums(state: fit_state.FitState, sums: dict[int, Any]) -> fit_state.FitState:
    state.sums = sums
    return state


def test_what_was_fitted_is_kept_if_the_lens_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = small_context("gpt2"), tmp_path / "lens.safetensors"

    def full(*given: object) -> None:
        raise OSError("no space is left")

    with monkeypatch.context() as patch:
        patch.setattr(ne.JacobianLens, "save", full)
        with pytest.raises(OSError, match="no space"):
            fitted(model, out)
    assert [path.name for path in tmp_path.iterdir()] == ["lens.safetensors.state"]
    monkeypatch.setattr(fitting, "jacobians_of_prompt", full)  # nothing is left to do
    assert fitted(model, out).n_prompts == 3
