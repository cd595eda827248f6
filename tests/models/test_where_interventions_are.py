"""Functions of two arguments are told where they are applied; interventions that change nothing are told of."""

import threading
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.small_models import SMALL_CONFIGS, small_context
from neuron_explainer.errors import InvalidRequestError, PromptError
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.hooks.applied_at import AppliedAt
from neuron_explainer.notices import UnchangedByInterventionWarning
from neuron_explainer.vocabulary.places import ActivationLocationType

PROMPT = [5, 17, 3, 8]


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_positions_are_the_same_with_the_cache_and_without(name: str) -> None:
    context = small_context(name, dtype=torch.float64)
    transformer = context.get_or_create_model()

    def by_position(tensor: Tensor, at: AppliedAt) -> Tensor:
        places.add((at.layer, at.place))
        seen.update(at.positions.flatten().tolist())
        return tensor + at.positions[..., None] * direction

    direction = torch.randn(context.d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for use_cache in (True, False):
        seen: set[int] = set()
        places: set[Any] = set()
        with transformer.intervene("resid_delta_mlp", [0, 2], by_position):
            found.append(generate(transformer, [PROMPT], max_new_tokens=5, use_cache=use_cache)[0])
        assert seen == set(range(8))
        assert places == {(0, ActivationLocationType.RESID_DELTA_MLP), (2, ActivationLocationType.RESID_DELTA_MLP)}
    assert found[0] == found[1]
    assert found[0] != generate(transformer, [PROMPT], max_new_tokens=5)[0]


def test_prompts_of_several_lengths_have_a_row_each() -> None:
    transformer = small_context("gpt2").get_or_create_model()
    seen: list[list[list[int]]] = []

    def look(tensor: Tensor, at: AppliedAt) -> Tensor:
        seen.append(at.positions.tolist())
        return tensor

    with transformer.intervene("logits", None, look, notes_change=False):
        generate(transformer, [[5, 6, 7], [8]], max_new_tokens=3)
    assert seen == [[[0, 1, 2]], [[3], [1]], [[4], [2]]]


def test_a_pass_within_a_pass_and_one_from_a_layer_have_their_own_positions() -> None:
    transformer = small_context("llama").get_or_create_model()
    seen: list[tuple[int | None, int]] = []

    def look(tensor: Tensor, at: AppliedAt) -> Tensor:
        before = at.n_tokens
        if len(seen) < 1:
            seen.append((at.layer, before))
            transformer(torch.tensor([[1, 2]]))
        seen.append((at.layer, at.n_tokens))
        assert at.positions.shape == (1, before)
        return tensor

    with transformer.intervene("resid_post_mlp", [0, 1], look, notes_change=False):
        transformer(torch.tensor([PROMPT]))
    assert seen == [(0, 4), (0, 2), (1, 2), (0, 4), (1, 4)]
    seen[:] = [(None, 0)]
    with transformer.intervene("resid_post_mlp", [0, 1], look, notes_change=False):
        transformer.forward_from(1, torch.zeros(1, 3, 32))
    assert seen[1:] == [(1, 3)]


def test_gradients_know_the_positions_of_their_pass() -> None:
    transformer = small_context("gpt2").get_or_create_model()
    seen: list[list[list[int]]] = []

    def look(gradient: Tensor, at: AppliedAt) -> Tensor:
        seen.append(at.positions.tolist())
        return gradient * 2

    with (
        transformer.record([("resid_post_mlp", 0)], gradients=True) as recording,
        transformer.intervene("resid_post_mlp", 1, look, pass_type="BACKWARD") as intervention,
    ):
        logits = transformer(torch.tensor([PROMPT]))
        assert logits is not None
        recording.backward(logits[0, -1, 0])
    assert seen == [[[0, 1, 2, 3]]]
    assert intervention.changed is True


def test_threads_have_their_own_positions() -> None:
    transformer = small_context("gpt2").get_or_create_model()
    wrong: list[Any] = []

    def read(n_tokens: int) -> None:
        def look(tensor: Tensor, at: AppliedAt) -> Tensor:
            if at.positions.tolist() != [list(range(n_tokens))]:
                wrong.append((n_tokens, at.positions))
            return tensor

        hook = transformer.intervention("resid_post_mlp", None, look)
        with transformer.intervene("resid_post_attn", None, look, notes_change=False):
            for _ in range(20):
                transformer(torch.ones(1, n_tokens, dtype=torch.int64), hooks=[hook])

    threads = [threading.Thread(target=read, args=(n_tokens,)) for n_tokens in (2, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class _Called:
    def __call__(self, tensor: Tensor, at: AppliedAt) -> Tensor:
        return tensor + at.n_tokens


def _scaled(scale: float, tensor: Tensor) -> Tensor:
    return tensor * scale


def _three(tensor: Tensor, at: AppliedAt, more: int) -> Tensor:
    return tensor


def _by_name(tensor: Tensor, *, scale: float) -> Tensor:
    return tensor * scale


@pytest.mark.parametrize(
    "fn",
    [
        torch.zeros_like,
        Tensor.neg,
        partial(_scaled, 2.0),
        partial(_three, more=3),
        _Called(),
        _Called().__call__,
        lambda tensor, scale=2.0: tensor * scale,
        lambda *tensors: tensors[0] * 2,
        torch.nn.ReLU(),
    ],
)
def test_functions_of_one_and_of_two(fn: Any) -> None:
    transformer = small_context("gpt2").get_or_create_model()
    with transformer.intervene("resid_post_mlp", 0, fn, notes_change=False) as intervention:
        transformer(torch.tensor([PROMPT]))
    assert intervention.n_fired == 1


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (_three, "must be given tensor, at, more"),
        (_by_name, "must be given tensor, scale"),
        (lambda: None, "takes no argument"),
        (3, "Give a function of the tensor"),
    ],
)
def test_other_functions_are_refused_before_a_pass(fn: Any, message: str) -> None:
    transformer = small_context("gpt2").get_or_create_model()
    with pytest.raises(InvalidRequestError, match=message):
        transformer.intervene("resid_post_mlp", 0, fn)


def test_positions_are_a_copy() -> None:
    transformer = small_context("llama").get_or_create_model()
    plain = transformer(torch.tensor([PROMPT]))

    def spoil(tensor: Tensor, at: AppliedAt) -> Tensor:
        at.positions.zero_()
        return tensor

    with transformer.intervene("resid_post_embedding", None, spoil, notes_change=False):
        assert torch.equal(transformer(torch.tensor([PROMPT])), plain)


def in_place(tensor: Tensor) -> Tensor:
    tensor[..., 0] += 1
    return tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("fn", "changed"),
    [
        (lambda tensor: tensor, False),
        (lambda tensor: tensor.clone(), False),
        (lambda tensor: tensor * 1e-30 + tensor, False),
        (in_place, True),
        (torch.zeros_like, True),
        (lambda tensor: torch.cat([tensor[:, :-1], tensor[:, -1:] * 2], dim=1), True),
    ],
)
def test_whether_a_number_changed(fn: Any, changed: bool, dtype: torch.dtype) -> None:
    transformer = small_context("gpt2", dtype=dtype).get_or_create_model()
    hook = transformer.intervention("mlp_post_act", 1, fn, notes_change=True)
    assert hook.changed is None
    with transformer.record("mlp_post_act"):  # a recorded tensor is not changed in place
        transformer(torch.tensor([PROMPT]), hooks=[hook])
    transformer(torch.tensor([PROMPT]), hooks=[hook])
    assert hook.changed is changed
    quiet = transformer.intervention("mlp_post_act", 1, fn)
    transformer(torch.tensor([PROMPT]), hooks=[quiet])
    assert quiet.changed is None


def test_nan_that_stays_is_no_change_and_one_change_of_many_counts() -> None:
    transformer = small_context("gpt2").get_or_create_model()
    makes_nan = transformer.intervention("resid_post_mlp", 0, lambda tensor: tensor * float("nan"), notes_change=True)
    keeps = transformer.intervention("resid_post_mlp", 0, lambda tensor: tensor + 1, notes_change=True)
    transformer(torch.tensor([PROMPT]), hooks=[makes_nan, keeps])
    assert (makes_nan.changed, keeps.changed) == (True, False)
    transformer(torch.tensor([PROMPT]), hooks=[keeps])
    transformer(torch.tensor([PROMPT]), hooks=[makes_nan, keeps])
    assert keeps.changed is True


def test_the_end_of_the_context_warns_at_the_callers_line() -> None:
    context = small_context("gpt2")
    with (
        pytest.warns(UnchangedByInterventionWarning, match="mlp.post_act of layer 1 was applied 2 times") as caught,
        context.intervene("mlp_post_act", 1, lambda tensor: tensor) as intervention,
    ):
        context.generate(PROMPT, max_new_tokens=2)
    assert intervention.changed is False
    assert caught[0].filename == __file__
    with context.intervene("mlp_post_act", 1, lambda tensor: tensor, notes_change=False):
        context.generate(PROMPT, max_new_tokens=2)
    with context.intervene("mlp_post_act", 1, torch.zeros_like):
        context.generate(PROMPT, max_new_tokens=2)
    with pytest.raises(PromptError), context.intervene("mlp_post_act", 1, lambda tensor: tensor):
        context.generate([], max_new_tokens=2)  # an error is not hidden by a warning
