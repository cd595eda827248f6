"""One model, many users: what a thread or a task enters is its own, and results are those of a run alone."""

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as P

N_THREADS = 8
TEXTS = ["And the LORD said", "Once upon a time", "The quick brown fox jumps", "In the beginning"]


@pytest.fixture(scope="module")
def tiny() -> StandardModelContext:
    return ne.load_model("tiny", device="cpu")


def in_threads(work: Callable[[int], Any], n_jobs: int) -> list[Any]:
    """The results of jobs that start together, so that they meet within their passes."""
    ready = threading.Barrier(N_THREADS)

    def start(first: int) -> list[Any]:
        ready.wait()
        return [work(job) for job in range(first, n_jobs, N_THREADS)]

    with ThreadPoolExecutor(N_THREADS) as pool:
        by_thread = list(pool.map(start, range(N_THREADS)))
    return [by_thread[job % N_THREADS][job // N_THREADS] for job in range(n_jobs)]


def derived(tiny: StandardModelContext, job: int) -> list[torch.Tensor]:
    """With gradients, ablations or neither, in turn."""
    index = ActivationIndex(P.MLP_POST_ACT, job % 4, ("All", job % 50))
    ablations = [AblationSpec(index, job - 20.0)] if job % 4 > 1 else []
    config = ne.DstConfig(model_context=tiny, derive_gradients=bool(job % 2))
    dsts = [D.MLP_POST_ACT, D.ATTN_QK_PROBS, D.RESID_POST_MLP]
    loss = ne.LossFnConfig("logit_diff", [" God"], [" man"])
    store = ne.derive(TEXTS[job % 3], dsts, config, loss=loss, ablations=ablations)
    passes = [PassType.FORWARD, PassType.BACKWARD] if job % 2 else [PassType.FORWARD]
    return [tensor for dst in dsts for pass_type in passes for tensor in store.activations(dst, pass_type).values()]


def recorded(tiny: StandardModelContext, job: int) -> list[torch.Tensor]:
    model = tiny.get_or_create_model()
    with model.record([(P.MLP_POST_ACT, job % 4), P.ATTN_QK_PROBS], gradients=True) as recording:
        recording.backward(model(tiny.to_tokens(TEXTS[job % 4]))[0, -1, job])
    keys = sorted(recording, key=str)
    return [recording[key].detach() for key in keys] + [recording.gradient(*key) for key in keys]


def intervened(tiny: StandardModelContext, job: int) -> list[torch.Tensor]:
    model = tiny.get_or_create_model()
    with model.intervene(P.RESID_POST_MLP, job % 4, lambda resid: resid * (1 + job), notes_change=False):
        return [model(tiny.to_tokens(TEXTS[job % 4]))]


def generated(tiny: StandardModelContext, job: int) -> list[torch.Tensor]:
    text = tiny.generate(TEXTS[job % 4], max_new_tokens=5, sampling=ne.Sampling(temperature=1.0, seed=job))
    return [torch.tensor(list(text.encode()))]


def live(tiny: StandardModelContext, job: int) -> list[torch.Tensor]:
    record = ne.live_record(tiny, job % 4, job, [TEXTS[job % 4]])
    return [torch.tensor(example.activations) for example in record.most_positive_activation_records]


def same(actual: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return len(actual) == len(expected) and all(map(torch.equal, actual, expected))


@pytest.mark.parametrize("work", [derived, recorded, intervened, generated, live])
def test_results_from_many_threads_are_those_of_one(tiny: StandardModelContext, work: Callable[..., Any]) -> None:
    n_jobs = 8 * N_THREADS
    expected = [work(tiny, job) for job in range(n_jobs)]
    results = in_threads(lambda job: work(tiny, job), n_jobs)
    assert [job for job in range(n_jobs) if not same(results[job], expected[job])] == []


def test_all_kinds_of_work_at_once(tiny: StandardModelContext) -> None:
    kinds = [derived, recorded, intervened, generated, live]
    n_jobs = 10 * N_THREADS
    expected = [kinds[job % 5](tiny, job) for job in range(n_jobs)]
    results = in_threads(lambda job: kinds[job % 5](tiny, job), n_jobs)
    assert [job for job in range(n_jobs) if not same(results[job], expected[job])] == []


def test_a_context_is_seen_by_its_own_thread_alone() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)
    plain = model(tokens)
    with ThreadPoolExecutor(1) as other, model.record(P.MLP_POST_ACT) as recording:
        with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
            ablated = model(tokens)
            assert torch.equal(other.submit(model, tokens[:, :4]).result(), plain[:, :4])
        assert not torch.equal(ablated, plain)
        assert recording[P.MLP_POST_ACT, 0].shape[1] == 6


def test_gradient_hooks_run_in_autograd_s_threads_with_the_pass_s_own_interventions() -> None:
    model = our_model("llama", torch.float64)
    tokens = random_tokens(1, 6)

    def gradient(factor: float) -> torch.Tensor:
        with (
            model.intervene(P.RESID_POST_MLP, 1, lambda g: g * factor, pass_type="backward", notes_change=False),
            model.record((P.MLP_POST_ACT, 0), gradients=True) as recording,
        ):
            recording.backward(model(tokens)[0, -1, 3])
        return recording.gradient(P.MLP_POST_ACT, 0)

    once = gradient(1.0)
    for job, result in enumerate(in_threads(lambda job: gradient(float(job)), 4 * N_THREADS)):
        torch.testing.assert_close(result, once * job)


def test_tasks_of_one_thread_keep_their_contexts_apart() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)

    def scaled(factor: float) -> torch.Tensor:
        with model.intervene(P.RESID_POST_MLP, 1, lambda resid: resid * factor, notes_change=False):
            return model(tokens)

    async def task(factor: float, turns: int) -> torch.Tensor:
        with model.intervene(P.RESID_POST_MLP, 1, lambda resid: resid * factor, notes_change=False):
            for _ in range(turns):
                await asyncio.sleep(0)
            logits = model(tokens)
            await asyncio.sleep(0)
        return logits

    async def all_tasks() -> list[torch.Tensor]:
        return await asyncio.gather(*(task(factor, factor % 3) for factor in range(8)))

    for factor, logits in enumerate(asyncio.run(all_tasks())):
        assert torch.equal(logits, scaled(factor)), factor
    assert torch.equal(model(tokens), our_model("gpt2")(tokens))


def test_a_context_entered_in_a_generator_counts_while_the_generator_waits() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)
    plain = model(tokens)

    def ablating() -> Any:
        with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
            yield

    steps = ablating()
    next(steps)
    assert not torch.equal(model(tokens), plain)
    next(steps, None)
    assert torch.equal(model(tokens), plain)


@pytest.mark.parametrize("by_generator", [True, False])
def test_a_context_that_another_thread_leaves_has_ended(by_generator: bool) -> None:
    model, tokens = our_model("llama"), random_tokens(1, 5)
    plain = model(tokens)

    def ablating() -> Generator[torch.Tensor | None, None, None]:
        with model.intervene(P.MLP_POST_ACT, 0, torch.zeros_like):
            while True:
                yield model(tokens)

    steps = ablating()
    by_hand = model.intervene(P.MLP_POST_ACT, 0, torch.zeros_like)
    if by_generator:
        next(steps)
    else:
        by_hand.__enter__()
    assert not torch.equal(model(tokens), plain)
    leave = steps.close if by_generator else (lambda: by_hand.__exit__(None, None, None))
    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert not model.active_interventions
    assert torch.equal(model(tokens), plain)


def test_a_context_entered_by_hand_counts_until_it_is_left() -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)
    plain = model(tokens)

    def enter() -> Any:
        context = model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like)
        context.__enter__()
        return context

    context = enter()
    assert not torch.equal(model(tokens), plain)
    context.__exit__(None, None, None)
    assert torch.equal(model(tokens), plain)
    with pytest.raises(InvalidRequestError, match="entered before"):
        context.__enter__()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_are_recorded_in_every_grad_mode(mode: Callable[[], Any]) -> None:
    model = our_model("gpt2", torch.float64)
    tokens = random_tokens(1, 6)

    def gradient() -> torch.Tensor:
        with model.record([(P.MLP_POST_ACT, 1)], gradients=True) as recording:
            recording.backward(model(tokens.clone())[0, -1, 5] * 2)
        return recording.gradient(P.MLP_POST_ACT, 1)

    expected = gradient()
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert torch.equal(gradient(), expected)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert torch.equal(gradient(), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_starts_without_contexts(copied: Callable[[Any], Any]) -> None:
    model = our_model("gpt2")
    tokens = random_tokens(1, 6)
    plain = model(tokens)
    with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
        twin = copied(model)
        assert torch.equal(twin(tokens), plain)
        assert not torch.equal(model(tokens), plain)
    with twin.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
        assert torch.equal(model(tokens), plain)
        assert not torch.equal(twin(tokens), plain)


def test_a_model_is_made_once_however_many_threads_ask() -> None:
    made = []

    def create() -> Any:
        made.append(threading.get_ident())
        return our_model("gpt2")

    model = our_model("gpt2")
    context = StandardModelContext("gpt2", config=model.config, device=model.device, create=create)
    with torch.inference_mode():
        models = in_threads(lambda job: context.get_or_create_model(), N_THREADS)
    assert len({id(model) for model in models}) == len(made) == 1
    assert not any(parameter.is_inference() for parameter in models[0].parameters())
