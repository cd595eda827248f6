"""What a person reads in JupyterLab: in both themes, on a narrow page, in several scripts, and after many re-runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from helpers.lab_in_chromium import NotebookPage
from helpers.readable_pages import faint_texts

Run = Callable[..., NotebookPage]
Write = Callable[..., Path]
SETUP = """
import neuron_explainer as ne
from IPython.display import HTML
from neuron_explainer.views import ranked_table
tiny = ne.load_model("tiny")
store = ne.derive("The price $x$ and $y$", ["attn_qk_probs", "attn_write_norm"], tiny)
"""
TABLES = (
    "store",
    "HTML(ranked_table(store, 5))",
    "store.to_dataframe(6, dsts='attn_qk_probs')",
    "ne.load_neuron('tiny', 1, 355)",
    "viewer = ne.NeuronViewer('tiny', 1, 355)\nviewer",
)


def _assert_readable(opened: NotebookPage) -> None:
    assert faint_texts(opened.page, ".jp-NotebookPanel .jp-OutputArea-output") == []


def test_tables_are_readable_in_both_themes(
    run_notebook: Run, write_notebook: Write, in_dark_theme: Callable[[NotebookPage], None]
) -> None:
    opened = run_notebook(write_notebook("tables", SETUP, *TABLES), height=4000)
    _assert_readable(opened)
    grounds = "cards => cards.map(card => getComputedStyle(card).backgroundColor)"
    cards = opened.panel.locator(".ne-card")
    assert set(cards.evaluate_all(grounds)) == {"rgb(255, 255, 255)"}
    in_dark_theme(opened)
    assert set(cards.evaluate_all(grounds)) == {"rgb(28, 28, 28)"}
    opened.page.mouse.move(0, 0)
    _assert_readable(opened)
    opened.panel.locator(".ne-ranked td").first.hover()  # JupyterLab colours the row under the mouse
    _assert_readable(opened)


def test_a_table_of_pairs_fits(run_notebook: Run, write_notebook: Write) -> None:
    opened = run_notebook(write_notebook("pairs", SETUP, TABLES[2]))
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    name = opened.panel.locator("table.ne-table tbody td").first
    assert name.evaluate("e => e.getClientRects()[0].height / parseFloat(getComputedStyle(e).fontSize)") < 4
    last = opened.panel.locator("table.ne-table th", has_text="attended_to").last
    box, width = last.bounding_box(), opened.panel.bounding_box()
    assert box is not None
    assert width is not None
    assert box["x"] + box["width"] <= width["x"] + width["width"]


def test_dollar_signs_are_no_mathematics(run_notebook: Run, write_notebook: Write) -> None:
    opened = run_notebook(write_notebook("dollars", SETUP, "store", "store.to_dataframe(4)", "HTML('<p>$a+b$</p>')"))
    expect(opened.panel.locator("mjx-container, .MathJax").first).to_be_visible(timeout=20_000)  # it is at work
    assert opened.panel.locator("mjx-container, .MathJax").count() == 1
    assert "$x$" in opened.panel.locator(".ne-derived-scalars").inner_text()


def test_a_narrow_page_and_other_scripts(run_notebook: Run, write_notebook: Write) -> None:
    opened = run_notebook(write_notebook("narrow", "import neuron_explainer as ne", TABLES[-1]))
    opened.page.set_viewport_size({"width": 800, "height": 1400})
    viewer = opened.panel.locator(".ne-viewer")
    viewer.scroll_into_view_if_needed()
    panel = opened.panel.bounding_box()
    assert panel is not None
    for control in [*viewer.locator(":is(button, input, select, textarea):visible").all()]:
        box = control.bounding_box()
        assert box is not None
        assert panel["x"] <= box["x"]
        assert box["x"] + box["width"] <= panel["x"] + panel["width"]
    low, high, counted = viewer.locator(".ne-histogram span, .ne-histogram > div:last-child").all()
    boxes = [text.bounding_box() for text in (low, high, counted)]
    assert all(boxes)
    assert boxes[0]["x"] + boxes[0]["width"] + 8 < boxes[1]["x"]  # type: ignore[index]
    assert boxes[2]["y"] >= boxes[0]["y"] + boxes[0]["height"] - 1  # type: ignore[index]
    viewer.get_by_label("Your text").fill("Hi 😀, say مرحبا بالعالم now")
    viewer.get_by_role("button", name="Compute").click()
    own = viewer.locator(".ne-card:not(.ne-record)")
    expect(own).to_contain_text("😀", timeout=60_000)
    expect(own).not_to_contain_text("\\x")
    run = own.locator("span[dir=rtl]")
    letters = [letter.bounding_box() for letter in run.locator("bdi").all()]
    first, second = letters[1], letters[2]  # behind the space
    assert first is not None
    assert second is not None
    assert second["x"] < first["x"]


def test_viewers_that_a_cell_replaced_are_closed(run_notebook: Run, write_notebook: Write) -> None:
    count = """
from ipywidgets.widgets.widget import _instances
n_viewers = sum(type(widget).__name__ == "NeuronViewer" for widget in _instances.values())
print("alive:", n_viewers, len(_instances))
"""
    path = write_notebook(
        "again", "import neuron_explainer as ne", TABLES[-1], "viewer", "ne.NeuronViewer('tiny')", count
    )
    opened = run_notebook(path)
    said = opened.panel.locator(".jp-OutputArea-output", has_text="alive:")
    first = said.inner_text()
    assert first.startswith("alive: 2 ")
    for _ in range(5):
        opened.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        opened.page.wait_for_timeout(300)
        opened.run_all()
    numbers = [int(number) for number in said.inner_text().split()[1:]]
    # The viewer of the second cell is closed only when the third cell, which shows it too, has run again.
    assert numbers[0] <= 3
    assert opened.panel.locator(".ne-viewer").count() == 3
    expect(opened.panel.get_by_text("Error displaying widget")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_error_is_short(
    open_notebook: Run, write_notebook: Write, theme: str, in_dark_theme: Callable[[NotebookPage], None]
) -> None:
    code = "import neuron_explainer as ne\nne.load_neuron('tinny', 1, 2)"
    opened = open_notebook(write_notebook(f"error_{theme}", code))
    with pytest.raises(AssertionError, match="UnknownDatasetError"):
        opened.run_all()
    if theme == "dark":
        in_dark_theme(opened)
    error = opened.panel.locator(".jp-OutputArea-output").last
    for said in ("ne.load_neuron('tinny', 1, 2)", "UnknownDatasetError: ", "show_library_frames"):
        expect(error).to_contain_text(said)
    assert len(error.inner_text().splitlines()) < 16
