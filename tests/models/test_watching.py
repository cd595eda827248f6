"""Passes tell how far they are, and stop when they are asked to; a stop leaves nothing behind."""

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import annotations_unchecked
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import current_watch, part_of_work, stop_if_asked, watched_passes
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.places import ActivationLocationType as P

TOKENS = random_tokens(1, 5)
THIRDS = pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.fixture
def model() -> Transformer:
    return our_model("gpt2")  # of three layers


def stopping_after(n_reports: int) -> tuple[Callable[[float], None], threading.Event, list[float]]:
    """A function that is told of progress and sets an event after so many times, the event, and what it was told."""
    told: list[float] = []
    stop = threading.Event()

    def progress(fraction: float) -> None:
        told.append(fraction)
        if len(told) == n_reports:
            stop.set()

    return progress, stop, told


def test_a_forward_pass_tells_of_each_layer(model: Transformer) -> None:
    told: list[float] = []
    with watched_passes(told.append):
        model(TOKENS)
        assert told == THIRDS
        model(TOKENS)
    assert told == [*told[:3], *told[:3]]
    model(TOKENS)
    assert len(told) == 6
    assert current_watch() is None


def test_a_backward_pass_tells_of_each_gradient(model: Transformer) -> None:
    told: list[float] = []
    with watched_passes(told.append), model.record(P.RESID_POST_EMBEDDING, gradients=True) as recording:
        logits = model(TOKENS)
        assert logits is not None
        forward = len(told)
        recording.backward(logits[0, -1, 7])
    assert told[forward:] == THIRDS


def test_a_backward_pass_after_the_context_is_not_watched(model: Transformer) -> None:
    told: list[float] = []
    stop = threading.Event()
    with model.record(P.RESID_POST_EMBEDDING, gradients=True) as recording:
        with watched_passes(told.append, stop):
            logits = model(TOKENS)
        stop.set()
        assert logits is not None
        recording.backward(logits[0, -1, 7])
    assert told == THIRDS


def test_gradients_are_the_same_when_they_are_watched(model: Transformer) -> None:
    def gradient() -> torch.Tensor:
        with model.record(P.RESID_POST_EMBEDDING, gradients=True) as recording:
            logits = model(TOKENS)
            assert logits is not None
            recording.backward(logits[0, -1, 7])
        return recording.gradient(P.RESID_POST_EMBEDDING)

    plain = gradient()
    with watched_passes(lambda fraction: None, threading.Event()):
        assert torch.equal(gradient(), plain)


def derived(tiny: ne.StandardModelContext) -> torch.Tensor:
    """A forward and a backward pass with an ablation."""
    store = ne.derive(
        "And the LORD said",
        [D.LOGITS, D.MLP_ACT_TIMES_GRAD],
        tiny,
        loss=ne.LossFnConfig("logit_diff", [" God"], [" man"]),
        ablations=[ne.AblationSpec(ne.ActivationIndex(P.MLP_POST_ACT, 0, ("All", 5)), 3.0)],
    )
    return store.activations(D.MLP_ACT_TIMES_GRAD)[1]


def test_a_stop_takes_effect_at_the_next_layer_wherever_it_comes() -> None:
    tiny = ne.load_model("tiny", device="cpu")
    with annotations_unchecked():  # they are not what is tested, and take long
        _stop_wherever_it_comes(tiny)


def _stop_wherever_it_comes(tiny: ne.StandardModelContext) -> None:
    plain = derived(tiny)
    told: list[float] = []
    with watched_passes(told.append):
        derived(tiny)
    assert told == sorted(told)
    assert len(told) == 7  # of the backward pass, the embedding's gradient is not needed
    for n_reports in range(1, len(told) + 1):
        progress, stop, so_far = stopping_after(n_reports)
        with pytest.raises(ne.errors.StoppedError, match="stopped before its end"), watched_passes(progress, stop):
            derived(tiny)
        assert so_far == told[:n_reports]
        assert torch.is_grad_enabled()
        assert torch.equal(derived(tiny), plain)


def test_a_stop_leaves_nothing_on_the_model(model: Transformer) -> None:
    plain = model(TOKENS)
    progress, stop, _ = stopping_after(2)
    cache = KeyValueCache()
    with contextlib.ExitStack() as contexts:
        contexts.enter_context(pytest.raises(ne.errors.StoppedError))
        contexts.enter_context(watched_passes(progress, stop))
        recording = contexts.enter_context(model.record(P.MLP_POST_ACT))
        with model.intervene(P.RESID_POST_MLP, 0, torch.zeros_like):
            model(TOKENS, cache=cache)
    assert not model.active_interventions
    assert recording.layers(P.MLP_POST_ACT) == [0, 1]
    assert cache.lengths == []
    assert torch.equal(model(TOKENS, cache=cache), plain)
    assert cache.lengths == [5]


def test_a_stop_before_the_first_layer(model: Transformer) -> None:
    stop = threading.Event()
    stop.set()
    told: list[float] = []
    with watched_passes(told.append, stop):
        with pytest.raises(ne.errors.StoppedError):
            model(TOKENS)
        with pytest.raises(ne.errors.StoppedError):
            stop_if_asked()
    assert told == []
    stop_if_asked()
    model(TOKENS)


def test_a_text_that_is_being_written_stops() -> None:
    tiny = ne.load_model("tiny", device="cpu")
    progress, stop, told = stopping_after(10)
    with pytest.raises(ne.errors.StoppedError), watched_passes(progress, stop):
        tiny.generate("And the LORD said", max_new_tokens=50)
    assert len(told) == 10


def test_an_offloaded_model_stops_and_goes_on() -> None:
    tiny = ne.load_model("tiny", device="cpu", offload="disk")
    tokens = tiny.to_tokens("And the LORD said")
    transformer = tiny.get_or_create_model()
    plain = transformer(tokens)
    progress, stop, _ = stopping_after(2)
    with pytest.raises(ne.errors.StoppedError), watched_passes(progress, stop):
        transformer(tokens)
    assert torch.equal(transformer(tokens), plain)


def in_a_thread(work: Callable[[], Any]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    for failure in failures:
        raise failure


def test_a_backward_pass_with_a_thread_of_its_own_is_watched(model: Transformer) -> None:
    """As on a GPU: autograd calls its hooks in another thread, while the one that is watched waits."""
    told: list[float] = []
    stop = threading.Event()
    with watched_passes(told.append, stop), model.record(P.RESID_POST_EMBEDDING, gradients=True) as recording:
        logits = model(TOKENS)
        assert logits is not None
        scalar = logits[0, -1, 7]
        in_a_thread(lambda: recording.backward(scalar, retain_graph=True))
        assert told[3:] == THIRDS
        stop.set()
        with pytest.raises(ne.errors.StoppedError):
            in_a_thread(lambda: recording.backward(scalar))


def test_passes_of_another_thread_are_not_concerned(model: Transformer) -> None:
    stop = threading.Event()
    stop.set()
    told: list[float] = []
    with watched_passes(told.append, stop):
        in_a_thread(lambda: model(TOKENS))
    assert told == []


def test_passes_of_another_task_or_of_a_thread_of_a_task_are_not_concerned(model: Transformer) -> None:
    told: list[float] = []

    async def watching(begun: asyncio.Event, over: asyncio.Event) -> None:
        with watched_passes(told.append):
            begun.set()
            await over.wait()
            await asyncio.to_thread(model, TOKENS)  # which copies the task's context
            assert told == []
            model(TOKENS)

    async def both() -> None:
        begun, over = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(watching(begun, over))
        await begun.wait()
        model(TOKENS)
        over.set()
        await task

    asyncio.run(both())
    assert told == THIRDS


def test_of_nested_contexts_the_inner_is_told_and_either_stops(model: Transformer) -> None:
    outer_stop, inner_stop = threading.Event(), threading.Event()
    outer: list[float] = []
    inner: list[float] = []
    with watched_passes(outer.append, outer_stop):
        with watched_passes(inner.append, inner_stop):
            model(TOKENS)
            inner_stop.set()
            with pytest.raises(ne.errors.StoppedError):
                model(TOKENS)
        model(TOKENS)
        outer_stop.set()
        with watched_passes(inner.append), pytest.raises(ne.errors.StoppedError):
            model(TOKENS)
    assert (len(outer), len(inner)) == (3, 3)


def test_parts_of_work_share_one_scale(model: Transformer) -> None:
    told: list[float] = []
    with watched_passes(told.append):
        for number in range(2):
            with part_of_work(number, 2):
                for half in range(2):
                    with part_of_work(half, 2):
                        model(TOKENS)
        with pytest.raises(ZeroDivisionError), part_of_work(1, 2):
            raise ZeroDivisionError
        model(TOKENS)
    assert told[:12] == pytest.approx([n / 12 for n in range(1, 13)])
    assert told[12:] == THIRDS
    with part_of_work(0, 2):
        model(TOKENS)


def test_a_context_whose_end_was_interrupted_watches_no_more(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    told: list[float] = []
    stop = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(watched_passes, "__exit__", interrupted)
        with pytest.raises(KeyboardInterrupt), watched_passes(told.append, stop):
            model(TOKENS)
    stop.set()
    model(TOKENS)
    assert told == THIRDS
    assert current_watch() is None


def test_a_graph_that_is_kept_keeps_nothing_of_the_watch(model: Transformer) -> None:
    class Told:
        def __call__(self, fraction: float) -> None:
            pass

    def recorded() -> tuple[Any, weakref.ref[Told]]:
        told = Told()
        with watched_passes(told), model.record(P.RESID_POST_EMBEDDING, gradients=True) as recording:
            model(TOKENS)
        return recording, weakref.ref(told)

    recording, told = recorded()
    gc.collect()
    assert recording[P.RESID_POST_EMBEDDING].requires_grad
    assert told() is None
