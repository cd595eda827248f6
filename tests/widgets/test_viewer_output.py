"""What a viewer leaves in files and notebooks."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from nbconvert import HTMLExporter

from helpers.viewers import FakeLoader, settled
from neuron_explainer.widgets.neuron_viewer import NeuronViewer


def test_saved_html_is_complete_and_written_atomically(
    load: FakeLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    path = viewer.save_html(tmp_path / "neuron.html")
    saved = path.read_text(encoding="utf-8")
    assert saved.startswith("<!DOCTYPE html>")
    assert "one-0-2" in saved
    viewer.show(neuron=3)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        viewer.save_html(path)
    assert path.read_text(encoding="utf-8") == saved
    assert [file.name for file in tmp_path.iterdir()] == ["neuron.html"]


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any], bool]]:
    """The displayed outputs: (data, transient, whether it replaces an earlier output)."""
    shell = start_ipython() or InteractiveShell.instance()
    published: list[tuple[dict[str, Any], dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], **options: Any) -> None:
        published.append((data, options.get("transient") or {}, options.get("update", False)))

    monkeypatch.setattr(shell.display_pub, "publish", publish)
    return published


def test_a_notebook_gets_the_widget_and_an_updated_static_copy(load: FakeLoader, displayed: list[Any]) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    assert displayed == []
    viewer._ipython_display_()
    (widget, _, _), (copy, transient, _) = displayed
    assert widget["application/vnd.jupyter.widget-view+json"]["model_id"] == viewer.model_id
    assert "text/html" not in widget
    assert "one-0-2" in copy["text/html"]
    assert "application/vnd.jupyter.widget-view+json" not in copy
    viewer.controls.next.click()
    assert settled(viewer) == (0, 3)
    viewer.wait()
    later, of_which, replaces = displayed[-1]
    assert replaces
    assert of_which == transient
    assert "one-0-3" in later["text/html"]


def test_the_end_of_a_cell_does_not_wait_for_the_copy(
    load: FakeLoader, displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """nbconvert ends the kernel right after the last cell."""
    monkeypatch.setattr("neuron_explainer.widgets.snapshot._PAUSE", 600)
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer._ipython_display_()
    viewer.show(neuron=3)
    assert len(displayed) == 2
    InteractiveShell.instance().run_cell("1")
    assert "one-0-3" in displayed[-1][0]["text/html"]
    assert len(displayed) == 3
    viewer.show(neuron=4)
    viewer.close()
    assert "one-0-4" in displayed[-1][0]["text/html"]


def test_a_notebook_exported_without_widget_state_shows_the_neuron(load: FakeLoader, displayed: list[Any]) -> None:
    viewer = NeuronViewer("one", neuron=2, load=load)
    viewer._ipython_display_()
    outputs = [nbformat.v4.new_output("display_data", data=data) for data, _, _ in displayed]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("viewer", outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("Layer 0, neuron 2") == 1
    assert "one-0-2" in page
    assert f'class="ne-{viewer.model_id}"' not in page  # so nothing hides it
