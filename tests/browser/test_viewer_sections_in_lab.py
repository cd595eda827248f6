"""The sections of the neuron viewer in JupyterLab: opened, gone through by clicks and keys, kept in the notebook."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from helpers.lab_in_chromium import NotebookPage

CELL = """
import os, tempfile
os.environ["NEURON_EXPLAINER_NOTES"] = tempfile.mkdtemp()
import neuron_explainer as ne
viewer = ne.NeuronViewer("tiny", "L1N355"{options})
viewer
"""
SLOW = 60_000


@pytest.fixture
def viewer(run_notebook: Callable[..., NotebookPage], write_notebook: Callable[..., Path]) -> NotebookPage:
    return run_notebook(write_notebook("sections", CELL.format(options="")))


def _page(opened: NotebookPage) -> Locator:
    return opened.panel.locator(".ne-viewer")


def _open(opened: NotebookPage, section: str) -> None:
    _page(opened).locator(".ne-tabs").get_by_text(section, exact=True).click()


def _expect_on_view(opened: NotebookPage, text: str) -> None:
    expect(_page(opened).get_by_role("status").filter(has_text=text)).to_be_visible(timeout=SLOW)


def _card(opened: NotebookPage) -> Locator:
    return _page(opened).locator(".ne-section:visible")


def test_a_walk_through_the_sections(
    viewer: NotebookPage, in_dark_theme: Callable[[NotebookPage], None], write_notebook: Callable[..., Path]
) -> None:
    page = _page(viewer)
    _open(viewer, "Writes and reads")
    expect(_card(viewer)).to_contain_text("What it reads", timeout=SLOW)
    expect(_card(viewer)).to_contain_text("Crawford")

    _open(viewer, "Neighbours")
    name = _card(viewer).locator("[data-ne-node]").nth(1)
    expect(name).to_be_visible(timeout=SLOW)
    chosen = name.inner_text()
    name.click()
    _expect_on_view(viewer, f"layer {chosen[1]}, neuron {chosen.split('N')[1]} of tiny")

    _open(viewer, "Search")
    field = page.get_by_label("Look for", exact=True)
    field.fill(" LORD")
    field.press("Enter")
    expect(_card(viewer)).to_contain_text("in the stored examples", timeout=SLOW)
    listed = _card(viewer).locator("[data-ne-node]").all_inner_texts()
    page.get_by_title("Show the one chosen in this list").click()
    _expect_on_view(viewer, f"layer {listed[0][1]}, neuron {listed[0].split('N')[1]} of tiny")
    page.get_by_title("Show the one after in this list").click()
    _expect_on_view(viewer, f"layer {listed[1][1]}, neuron {listed[1].split('N')[1]} of tiny")

    entry = page.get_by_label("Go to", exact=True).first
    entry.fill("layer 2, head 1")
    entry.press("Enter")
    _expect_on_view(viewer, "layer 2, attention head 1 of tiny")
    _open(viewer, "Attention")
    expect(_card(viewer)).to_contain_text("at position 0", timeout=SLOW)
    _card(viewer).locator("[data-ne-token='3']").first.click()
    expect(_card(viewer)).to_contain_text("at position 3", timeout=SLOW)
    _open(viewer, "All heads")
    expect(_card(viewer)).to_contain_text("L2H1 among all heads", timeout=SLOW)

    in_dark_theme(viewer)
    colours = _card(viewer).first.evaluate(
        "card => [getComputedStyle(card).backgroundColor, getComputedStyle(card).color]"
    )
    lightness = [sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) for colour in colours]
    assert lightness[0] < 150 < 500 < lightness[1]


def test_keys_go_from_one_to_the_next(viewer: NotebookPage) -> None:
    page = _page(viewer)
    page.locator(".ne-record").click(position={"x": 300, "y": 12})
    viewer.page.keyboard.press("ArrowRight")
    _expect_on_view(viewer, "layer 1, neuron 356 of tiny")
    viewer.page.keyboard.press("ArrowUp")
    _expect_on_view(viewer, "layer 2, neuron 356 of tiny")
    viewer.page.keyboard.press("ArrowLeft")
    _expect_on_view(viewer, "layer 2, neuron 355 of tiny")
    viewer.page.keyboard.press("b")
    expect(page.get_by_role("button", name="Remove mark")).to_be_visible(timeout=SLOW)


def test_what_was_opened_is_read_without_a_kernel(
    run_notebook: Callable[..., NotebookPage],
    open_notebook: Callable[..., NotebookPage],
    write_notebook: Callable[..., Path],
) -> None:
    path = write_notebook("kept", CELL.format(options=", core_controls_only=True"))
    opened = run_notebook(path)
    _open(opened, "Neighbours")
    expect(_card(opened)).to_contain_text("Neighbours by what they write", timeout=SLOW)
    expect(_card(opened).locator("[data-ne-node]").first).not_to_have_attribute("tabindex", "0")  # no module
    opened.page.set_viewport_size({"width": 800, "height": 900})
    wide = _page(opened).evaluate("page => page.scrollWidth - page.clientWidth")
    assert wide <= 1
    copy = opened.panel.locator(".ne-section:not(:visible)", has_text="Neighbours by what they write")
    expect(copy).to_have_count(1, timeout=SLOW)  # it follows a moment after the page
    received = write_notebook("received")
    nbformat.write(opened.save(), received)
    again = open_notebook(received, with_kernel=False)  # as somebody else opens it: not trusted
    expect(again.panel.locator(".ne-section:visible")).to_contain_text("Neighbours by what they write", timeout=SLOW)
    expect(again.panel.locator(".ne-record:visible")).to_contain_text("Top activations")
