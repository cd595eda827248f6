"""Background work of which only the latest counts: it tells how far it is, and a newer task or a person stops it."""

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

import neuron_explainer as ne
from helpers.derived_scalars import annotations_unchecked
from neuron_explainer.errors import StoppedError
from neuron_explainer.models.watching import watched_passes
from neuron_explainer.widgets.latest_only import LatestOnly

SECONDS = 20


class Work:
    """Passes of a model until they are stopped ("long"), one pass ("short"), or a wait that no stop ends ("deaf")."""

    def __init__(self, model: ne.StandardModelContext) -> None:
        self.model = model
        self.began = threading.Event()
        self.released = threading.Event()
        self.ended: dict[str, BaseException | None] = {}
        self.ends = threading.Condition()

    def __call__(self, task: str) -> str:
        error: BaseException | None = None
        try:
            if task == "deaf":
                self.began.set()
                self.released.wait(SECONDS)
            n_texts = 1 if task == "short" else 0 if task == "deaf" else 10_000
            for _ in range(n_texts):
                self.model.generate("And the LORD said", max_new_tokens=1)
                self.began.set()
            return task
        except BaseException as stopped:
            error = stopped
            raise
        finally:
            with self.ends:
                self.ended[task] = error
                self.ends.notify_all()

    def wait_for_end_of(self, task: str) -> BaseException | None:
        with self.ends:
            assert self.ends.wait_for(lambda: task in self.ended, SECONDS)
        return self.ended[task]


@pytest.fixture(scope="module")
def tiny() -> Iterator[ne.StandardModelContext]:
    with annotations_unchecked():  # they are not what is tested, and take long
        yield ne.load_model("tiny", device="cpu")


@pytest.fixture
def work(tiny: ne.StandardModelContext) -> Work:
    return Work(tiny)


@pytest.fixture
def delivered() -> list[tuple[str, Any]]:
    return []


def latest(work: Work, delivered: list[tuple[str, Any]], **options: Any) -> LatestOnly[str, str]:
    return LatestOnly(work, lambda task, result: delivered.append((task, result)), **options)


def test_a_newer_task_stops_the_passes_of_the_one_before(work: Work, delivered: list[tuple[str, Any]]) -> None:
    tasks = latest(work, delivered)
    tasks.submit("long")
    assert work.began.wait(SECONDS)
    tasks.submit("short")
    assert isinstance(work.wait_for_end_of("long"), StoppedError)
    assert tasks.wait(SECONDS)
    assert delivered == [("short", "short")]


def test_a_person_stops_the_task(work: Work, delivered: list[tuple[str, Any]]) -> None:
    tasks = latest(work, delivered)
    tasks.submit("long")
    assert work.began.wait(SECONDS)
    tasks.stop()
    assert tasks.wait(0)
    ((task, error),) = delivered
    assert task == "long"
    assert isinstance(error, StoppedError)
    assert isinstance(work.wait_for_end_of("long"), StoppedError)
    tasks.submit("short")
    assert tasks.wait(SECONDS)
    assert delivered[1:] == [("short", "short")]


def test_work_that_cannot_be_stopped_is_dropped(work: Work, delivered: list[tuple[str, Any]]) -> None:
    tasks = latest(work, delivered)
    tasks.submit("deaf")
    assert work.began.wait(SECONDS)
    tasks.stop()
    assert [type(result) for _, result in delivered] == [StoppedError]
    work.released.set()
    assert work.wait_for_end_of("deaf") is None
    tasks.run("short")
    assert [result for _, result in delivered[1:]] == ["short"]


def test_a_stop_without_a_task_does_nothing(work: Work, delivered: list[tuple[str, Any]]) -> None:
    tasks = latest(work, delivered)
    tasks.stop()
    tasks.run("short")
    tasks.stop()
    assert delivered == [("short", "short")]


def test_a_task_that_pauses_is_stopped(work: Work, delivered: list[tuple[str, Any]]) -> None:
    tasks = latest(work, delivered)
    tasks.submit("short", pause=SECONDS)
    tasks.stop()
    assert [type(result) for _, result in delivered] == [StoppedError]
    assert work.ended == {}


def test_what_a_stop_delivers_may_be_answered_by_a_new_task(work: Work) -> None:
    delivered: list[Any] = []

    def deliver(task: str, result: str | BaseException) -> None:
        delivered.append(result)
        if isinstance(result, StoppedError):
            tasks.submit("short")

    tasks = LatestOnly(work, deliver)
    tasks.submit("long")
    tasks.stop()
    assert tasks.wait(SECONDS)
    assert delivered[1:] == ["short"]


def test_progress_is_told_of_the_latest_task_and_not_too_often(work: Work, delivered: list[tuple[str, Any]]) -> None:
    told: list[tuple[float, float]] = []
    tasks = latest(work, delivered, progress=lambda fraction: told.append((fraction, time.monotonic())))
    tasks.run("short")
    assert told
    assert all(0 < fraction <= 1 for fraction, _ in told)
    n_of_first = len(told)
    tasks.submit("long")
    time.sleep(0.5)
    tasks.stop()
    work.wait_for_end_of("long")
    of_long = [moment for _, moment in told[n_of_first:]]
    assert 1 <= len(of_long) <= 8
    assert all(later - earlier > 0.09 for earlier, later in pairwise(of_long))


def test_a_cell_that_runs_a_task_is_not_watched_itself(work: Work, delivered: list[tuple[str, Any]]) -> None:
    told: list[float] = []
    with watched_passes(told.append):
        latest(work, delivered).run("short")
        assert told == []
        work.model.generate("And", max_new_tokens=1)
    assert len(told) == 4
