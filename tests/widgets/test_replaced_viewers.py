"""Viewers that a cell has replaced are closed; those that somebody can still reach stay."""

from collections.abc import Callable, Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from ipywidgets.widgets.widget import _instances

from helpers.viewers import FakeLoader
from neuron_explainer.widgets.neuron_viewer import NeuronViewer

N_TIMES = 20


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, load: FakeLoader) -> Iterator[Callable[..., None]]:
    """`run(cell_id, code)` runs a cell; `make()` in it gives a viewer."""
    shell = start_ipython() or InteractiveShell.instance()
    monkeypatch.setattr(shell.display_pub, "publish", lambda *_, **__: None)
    shell.user_ns["make"] = lambda: NeuronViewer("one", load=load)
    NeuronViewer.close_all()  # those of other tests

    def run_cell(cell: str | None, code: str) -> None:
        shell.run_cell(code, store_history=True, cell_id=cell).raise_error()

    yield run_cell
    NeuronViewer.close_all()
    shell.run_cell("%reset -f")


def _viewers() -> list[NeuronViewer]:
    return [widget for widget in _instances.values() if isinstance(widget, NeuronViewer)]


@pytest.mark.parametrize(
    "code",
    [
        "make()",
        "viewer = make()\nviewer",
        "viewer = make()\ndisplay(viewer)",
        "viewer = make()",
        "def show():\n    inner = make()\n    display(inner)\nshow()",
        "HBox([make()])",
        "viewer = make()\nrow = HBox([viewer, HTML('beside')])\nrow",
        "display(VBox([HBox([make()])]))",
        "tabs = Tab([make()])\ndisplay(tabs)",
    ],
)
@pytest.mark.parametrize("cell", ["a", None])
def test_one_viewer_is_left_of_many_runs(run: Callable[..., None], code: str, cell: str | None) -> None:
    run(cell, "from IPython.display import display\nfrom ipywidgets import HBox, HTML, Tab, VBox")
    n_before = len(_instances)
    run(cell, code)
    one = len(_instances) - n_before
    assert one > 40
    for _ in range(N_TIMES):
        run(cell, code)
    assert len(_viewers()) == 1
    own = 3 * N_TIMES if "HTML" in code else 0  # the user's own widget beside it, with its layout and style
    assert len(_instances) == n_before + one + own  # their parts, too


@pytest.mark.parametrize("widget", ["NodePicker('one')", "DatasetPicker('one')"])
def test_one_picker_is_left_of_many_runs(run: Callable[..., None], widget: str) -> None:
    run("a", "import neuron_explainer as ne\nheard = []")
    code = f"picker = ne.{widget}\npicker.observe(lambda change: heard.append(change.new), 'dst')\npicker"
    n_before = len(_instances)
    run("b", code)
    one = len(_instances) - n_before
    for _ in range(3):
        run("b", code)
    assert len(_instances) == n_before + one
    run("c", "picker.dst = 'attn_write_norm'\nassert len(heard) == 1")


def test_a_viewer_that_another_cell_shows_stays(run: Callable[..., None]) -> None:
    run("a", "viewer = make()\nviewer")
    first = _viewers()[-1].model_id
    run("b", "viewer")
    run("a", "viewer = make()\nviewer")
    assert first in _instances
    run("b", "viewer")  # cell b shows the new one now
    assert first not in _instances


def test_both_viewers_of_a_row_are_closed(run: Callable[..., None]) -> None:
    code = "import ipywidgets\nrow = ipywidgets.HBox([make(), make()])\nrow"
    for _ in range(3):
        run("a", code)
    assert len(_viewers()) == 2


def test_a_viewer_in_a_row_that_another_cell_shows_stays(run: Callable[..., None]) -> None:
    code = "import ipywidgets\nviewer = make()\nrow = ipywidgets.VBox([ipywidgets.HBox([viewer])])\nrow"
    run("a", code)
    first = _viewers()[-1].model_id
    run("b", "row")
    run("c", "1")
    run("a", code)
    assert first in _instances
    run("a", code)
    assert len(_viewers()) == 2  # that of cell b, and the last of cell a
    run("b", "row")
    assert first not in _instances
    assert len(_viewers()) == 1


def test_a_viewer_that_is_shown_alone_elsewhere_stays_with_its_row(run: Callable[..., None]) -> None:
    code = "import ipywidgets\nviewer = make()\nrow = ipywidgets.HBox([viewer])\nrow"
    run("a", code)
    first = _viewers()[-1].model_id
    run("b", "viewer")
    run("a", code)
    assert first in _instances


def test_a_row_whose_display_was_not_seen_stays(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import ipywidgets\ndef show():\n    row = ipywidgets.HBox()\n    row.children = [make()]\nshow()"
    run("a", code)
    run("a", code)
    assert len(_viewers()) == 2


@pytest.mark.parametrize(
    "keep",
    [
        "kept = viewer",
        "kept = [viewer]",
        "kept = {'a': {'b': viewer}}",
        "import ipywidgets\nkept = ipywidgets.HBox([viewer])",
        "kept = lambda: viewer_of\nviewer_of = viewer",
        "class Kept: pass\nkept = Kept()\nkept.viewer = viewer",
    ],
)
def test_a_viewer_that_is_referred_to_stays(run: Callable[..., None], keep: str) -> None:
    run("a", "viewer = make()\nviewer")
    first = _viewers()[-1].model_id
    run("b", keep)
    for _ in range(3):
        run("a", "viewer = make()\nviewer")
    assert first in _instances
    assert len(_viewers()) == 2


def test_a_viewer_in_an_output_widget_stays(run: Callable[..., None]) -> None:
    run("a", "import ipywidgets\nfrom IPython.display import display\nout = ipywidgets.Output()\nout")
    code = "out.msg_id = 'a message'\ndisplay(make())\nout.msg_id = ''"  # as `with out:` does in a kernel
    run("b", code)
    run("b", code)
    assert len(_viewers()) == 2


def test_a_closed_viewer_takes_no_harm(run: Callable[..., None], load: FakeLoader) -> None:
    viewer = NeuronViewer("one", load=load)
    n_widgets = len(_instances)
    viewer.close()
    viewer.close()
    assert len(_instances) < n_widgets - 40
    viewer.show(neuron=2)
    viewer.controls.next.click()
    assert viewer.wait(10)
    viewer._ipython_display_()
    assert "one-0-3" in viewer.to_html()
