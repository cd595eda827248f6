"""Frontend modules in JupyterLab: real widgets, a kernel, and modules that cannot be loaded."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.lab_in_chromium import NotebookPage
from helpers.module_harness import table_of

SETUP = """
import ipywidgets as widgets
from neuron_explainer.widgets.modules.box import module_box
from neuron_explainer.widgets.modules.node_rows import NodeRows
from neuron_explainer.widgets.modules.page import PageModule

rows, page = NodeRows(table={table!r}, note="a note"), PageModule()
said = widgets.HTML("nothing")
cell = "<td data-ne-node='L1H2' style='width:20px;height:20px'></td>"
marks = widgets.HTML(f"<table data-ne-grid='columns'><tr>{{cell}}</tr></table>")

def say(kind, node):
    said.value = f"<b>{{kind}} of {{node or 'nothing'}}; {{rows.chosen}} {{rows.sort.get('column')}}</b>"
    marks.value = marks.value  # the page is written anew

rows.on_action(say)
page.on_action(say)
replaced = widgets.Label("core controls")
replaced.add_class("ne-replaced")
viewer = widgets.VBox([replaced, said, marks, module_box(rows), module_box(page)])
viewer.add_class("ne-attribution-viewer")
viewer
"""
BROKEN = """
class Unreadable(NodeRows):
    _esm = "this is no JavaScript ("

class Failing(NodeRows):
    _esm = "export default {render() { throw new Error('it fails'); }}"

class Missing(NodeRows):
    def __init__(self):
        super().__init__()
        self._model_module = self._view_module = "there-is-no-such-module"

failed = widgets.VBox([*(module_box(made()) for made in (Unreadable, Failing, Missing)), widgets.Label("still here")])
failed.add_class("failed")
failed
"""


def test_rows_and_page_with_a_kernel(
    run_notebook: Callable[..., NotebookPage], write_notebook: Callable[..., Path]
) -> None:
    tokens = [" The", *HOSTILE_TOKENS]
    table = table_of(tokens, 500)
    name = table["rows"][1][0]
    opened = run_notebook(write_notebook("modules", SETUP.format(table=table), BROKEN))
    viewer = opened.panel.locator(".ne-attribution-viewer")
    keyboard = opened.page.keyboard
    grid = viewer.locator(".ne-rows-grid")
    expect(grid).to_have_attribute("aria-rowcount", "501", timeout=20_000)
    expect(viewer.get_by_text("a note")).to_be_visible()
    expect(viewer.get_by_text("core controls")).to_be_hidden()
    n_cells = opened.panel.locator(".jp-CodeCell").count()
    grid.focus()
    for key in ("ArrowDown", "ArrowDown", "a"):  # in JupyterLab, "a" would insert a cell
        keyboard.press(key)
    expect(viewer.locator("b")).to_have_text(f"ablate of {name}; {name} None", timeout=20_000)
    keyboard.press("Enter")  # and this would edit the cell
    expect(viewer.locator("b")).to_have_text(f"open of {name}; {name} None", timeout=20_000)
    expect(grid).to_be_focused()
    viewer.get_by_role("button", name="total effect").click()
    expect(viewer.get_by_role("columnheader", name="total effect")).to_have_attribute("aria-sort", "descending")
    mark = viewer.locator("[data-ne-node]")
    mark.click()
    expect(viewer.locator("b")).to_have_text(f"open of L1H2; {name} total_effect", timeout=20_000)
    mark.focus()
    keyboard.press("Enter")
    keyboard.press("Alt+ArrowLeft")
    expect(viewer.locator("b")).to_have_text(f"back of nothing; {name} total_effect", timeout=20_000)
    keyboard.press("?")
    expect(opened.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keyboard.press("Escape")
    opened.page.wait_for_timeout(900)
    assert viewer.locator(".ne-rows-busy, .ne-busy").all_inner_texts() == ["", ""]
    assert opened.panel.locator(".jp-CodeCell").count() == n_cells
    assert opened.flag() is None
    # Modules that cannot be loaded leave nothing: one is missing, one fails, and one, which is no JavaScript, is empty
    failed = opened.panel.locator(".failed")
    expect(failed.get_by_text("still here")).to_be_visible()
    errors = failed.locator(".jupyter-widgets-error-widget")
    expect(errors).to_have_count(2, timeout=20_000)
    assert [error.is_visible() for error in errors.all()] == [False, False]
    assert failed.inner_text().strip() == "still here"
