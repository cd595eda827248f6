"""Whatever fails in the background is shown, and the viewer lives on."""

from types import SimpleNamespace
from typing import Any

import pytest

from helpers.viewers import MLP, FakeLoader, settled
from neuron_explainer.activations.activations import NeuronRecord
from neuron_explainer.widgets.latest_only import LatestOnly
from neuron_explainer.widgets.neuron_viewer import NeuronViewer
from neuron_explainer.widgets.neurons import texts_shown, viewer_page
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.live_model import LiveModel

_MODEL = LiveModel(SimpleNamespace(model_name="model"))


class PanicException(BaseException):
    """As packages written in Rust raise it: it is not an Exception."""


def test_a_panic_is_shown_and_the_controls_live(load: FakeLoader) -> None:
    def panicking(choice: NeuronChoice) -> NeuronRecord:
        if choice.neuron == 1:
            raise PanicException("called `Option::unwrap()` on a `None` value")
        return load(choice)

    viewer = NeuronViewer("one", load=panicking)
    viewer.controls.next.click()
    assert viewer.wait(10)
    assert isinstance(viewer.error, PanicException)
    assert "PanicException" in viewer.status.value
    assert "Option::unwrap" in viewer.status.value
    assert "Loading" not in viewer.status.value
    viewer.controls.next.click()
    assert settled(viewer) == (0, 2)
    assert viewer.error is None


def test_a_bug_in_a_view_is_shown(load: FakeLoader, live: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = NeuronViewer("one", load=load)

    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError("in a view")

    with monkeypatch.context() as patch:
        patch.setattr(viewer_page, "record_to_html", broken)
        viewer.controls.next.click()
        assert viewer.wait(10)
        assert isinstance(viewer.error, ZeroDivisionError)
        assert "in a view" in viewer.status.value
        assert "Still showing layer 0, neuron 0" in viewer.status.value
    viewer.controls.next.click()
    assert settled(viewer) == (0, 2)


def test_a_bug_in_the_view_of_ones_own_text_is_shown(
    load: FakeLoader, live: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = NeuronViewer("one", load=load)

    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError("in a view")

    monkeypatch.setattr(viewer._source, "live_model", lambda: _MODEL, raising=False)
    monkeypatch.setattr(texts_shown, "texts_to_html", broken)
    viewer.own_text.text.value = "some text"
    viewer.own_text.compute.click()
    assert viewer.wait(10)
    assert isinstance(viewer.error, ZeroDivisionError)
    assert "in a view" in viewer.status.value


def test_an_observer_that_fails_is_shown(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)

    def fail(_: object) -> None:
        raise LookupError("in an observer")

    viewer.observe(fail, "record")
    viewer.controls.next.click()
    assert viewer.wait(10)
    assert "in an observer" in viewer.status.value


def test_the_size_is_of_the_dataset_that_is_shown(
    load: FakeLoader, live: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = NeuronViewer("one", 1, 3, load=load)
    monkeypatch.setattr(viewer._source, "live_model", lambda: _MODEL, raising=False)
    load.errors[7] = LookupError("no such record")
    viewer.show(dataset="two", neuron=7)
    assert viewer.error is load.errors[7]
    viewer.own_text.text.value = "some text"
    viewer.own_text.compute.click()
    assert viewer.wait(10)
    assert "Showing layer 1, neuron 3 of one (2 layers, 10 neurons per layer)" in viewer.status.value


def test_a_dataset_in_any_case(load: FakeLoader) -> None:
    viewer = NeuronViewer("ONE", 1, 3, load=load)
    viewer.show(dataset="Two", layer=1)
    assert viewer.error is None
    assert repr(viewer) == "<NeuronViewer of layer 1, neuron 3 of two>"


def test_nothing_of_a_viewer_shows_credentials(load: FakeLoader) -> None:
    address = "http://ann:s3cret@host/data?sig=s3cret"
    viewer = NeuronViewer(address, 1, 3, MLP, load=load)
    assert load.asked[-1].dataset == address
    for seen in (viewer, viewer.controls, viewer.controls.dataset, viewer.controls.choice, viewer.status.value):
        assert "s3cret" not in repr(seen) + str(seen)


def test_an_interrupt_while_showing_reaches_the_cell(load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    load.errors[3] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        viewer.show(neuron=3)
    assert viewer.wait(1)
    assert "interrupted" in viewer.status.value
    viewer.show(neuron=4)
    assert settled(viewer) == (0, 4)


def test_a_failing_delivery_is_delivered() -> None:
    delivered: list[object] = []

    def deliver(task: int, result: object) -> None:
        delivered.append(result)
        if result == task:
            raise PanicException("while showing")

    latest = LatestOnly(lambda task: task, deliver)
    latest.submit(7)
    assert latest.wait(10)
    assert delivered[0] == 7
    assert isinstance(delivered[1], PanicException)
