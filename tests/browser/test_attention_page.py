"""The page of attention patterns in a browser: clicks, keys and the pointer, without a script of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

import neuron_explainer as ne
from helpers.lab_in_chromium import NotebookPage
from neuron_explainer.views.document import html_document

PROMPT = "And the LORD said unto Moses"
CODE = f"import neuron_explainer as ne\nne.attention('tiny', {PROMPT!r})"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 800, "height": 900}, java_script_enabled=True)
    yield context.new_page()
    context.close()


def _large(place: Page | Locator) -> list[str]:
    """The names of the heads that are large."""
    names: list[str] = place.locator(".ne-head > span").evaluate_all(
        "all => all.filter(each => each.checkVisibility()).map(each => each.textContent)"
    )
    return names


def _under(page: Page, x: float, y: float) -> Any:
    return page.evaluate("([x, y]) => document.elementFromPoint(x, y).title", [x, y])


def test_clicks_and_keys_choose_a_head_and_cells_tell(page: Page) -> None:
    found = ne.attention("tiny", PROMPT)
    page.set_content(html_document(found.to_html("L1H2") + found.to_html("L0H0"), "Patterns"))
    assert _large(page) == ["L1H2", "L0H0"]
    page.locator("label[title=L3H1]").first.click()
    assert _large(page) == ["L3H1", "L0H0"]  # the other output keeps its choice
    for key, expected in (("ArrowRight", "L3H2"), ("ArrowLeft", "L3H1"), ("ArrowDown", "L3H2"), ("ArrowUp", "L3H1")):
        page.keyboard.press(key)
        assert _large(page)[0] == expected
    small, frame = (page.locator(each).first.bounding_box() for each in ("label[title=L3H1]", ".ne-chosen"))
    assert small is not None
    assert frame is not None
    assert frame["x"] == pytest.approx(small["x"], abs=0.1)
    assert frame["y"] == pytest.approx(small["y"], abs=0.1)
    pattern, tokens = found.pattern("L3H1"), [token.replace(" ", "·") for token in found.tokens]
    window = page.locator(".ne-layer3 > div").first.bounding_box()
    assert window is not None
    side = window["width"] / len(tokens)
    for row in range(len(tokens)):
        for column in range(row + 1):
            said = _under(page, window["x"] + (column + 0.5) * side, window["y"] + (row + 0.5) * side)
            assert said.startswith(f"{tokens[row]} ({row}) attends to {tokens[column]} ({column}): ")
            assert float(said.rsplit(": ", 1)[1]) == pytest.approx(float(pattern[row, column]), abs=5.1e-4)
    assert _under(page, window["x"] + 1.5 * side, window["y"] + 0.5 * side) == ""


def test_tab_reaches_the_chosen_pattern_and_shows_it(page: Page) -> None:
    page.set_content(html_document(ne.attention("tiny", PROMPT).to_html("L1H2"), "Patterns"))
    width = "element => getComputedStyle(element).outlineWidth"
    frame = page.locator(".ne-chosen")
    before = frame.evaluate(width)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "L1H2"
    assert (before, frame.evaluate(width)) == ("2px", "4px")
    page.keyboard.press("ArrowDown")
    assert _large(page) == ["L1H3"]


def test_arrow_keys_are_not_the_notebooks(
    run_notebook: Callable[..., NotebookPage], write_notebook: Callable[..., Path]
) -> None:
    opened = run_notebook(write_notebook("attention", CODE, "1 + 1"))
    output = opened.panel.locator(".ne-attention")
    output.locator("label[title=L1H2]").click()
    opened.page.keyboard.press("ArrowDown")
    assert _large(output) == ["L1H3"]
    opened.page.keyboard.press("ArrowRight")
    assert _large(output) == ["L2H0"]
    assert opened.page.evaluate("document.activeElement.ariaLabel") == "L2H0"
