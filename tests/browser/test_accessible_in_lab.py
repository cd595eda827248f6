"""The page of an answer for everybody: by keyboard, with names for screen readers, with contrast, at twice the size."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from helpers.lab_in_chromium import NotebookPage
from helpers.readable_pages import faint_texts, focused

SETUP = "import neuron_explainer as ne\nviewer = ne.AttributionViewer(ne.load_model('tiny'))\nviewer"
PAGE = ".jp-NotebookPanel:not(.lm-mod-hidden) .ne-attribution-viewer"
NAMELESS = re.compile(
    r"^\s*- (button|textbox|combobox|checkbox|spinbutton|searchbox|grid|img|heading|columnheader)( \[[^]]*\])*:?$", re.M
)
PICTURES = ("Heads", "Layers × tokens", "One head's attention", "All attention", "By token")
Run = Callable[..., NotebookPage]


def page_of(opened: NotebookPage) -> Locator:
    return opened.panel.locator(".ne-attribution-viewer")


@pytest.fixture
def opened(run_notebook: Run, write_notebook: Callable[..., Path]) -> NotebookPage:
    """The page with an open node that is ablated."""
    opened = run_notebook(write_notebook("accessible", SETUP), height=3200)
    page = page_of(opened)
    page.locator("[data-place='0']").click()
    expect(page.locator(".ne-record").first).to_be_visible(timeout=30_000)
    page.locator(".ne-rows-grid").press("a")
    expect(page.locator(".ne-changes .ne-change")).to_be_visible(timeout=30_000)
    return opened


def test_the_page_is_for_everybody(opened: NotebookPage, in_dark_theme: Callable[[NotebookPage], None]) -> None:
    page = page_of(opened)
    check_that_what_is_done_is_told_where_it_is_done(page)
    check_hints(page)
    check_names(page)
    check_keys(opened)
    assert faint_texts(opened.page, PAGE, with_fields=True) == []
    check_at_twice_the_size(opened)
    in_dark_theme(opened)
    assert faint_texts(opened.page, PAGE, with_fields=True) == []


def check_that_what_is_done_is_told_where_it_is_done(page: Locator) -> None:
    """Beneath the rows, where an ablation is made; above, the same is read out."""
    said = page.get_by_text(re.compile(r"^Showing logit of ' her' minus that of ' him' = .* without ablations$"))
    expect(said).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text=re.compile("^Showing logit"))).to_have_count(1)


def check_hints(page: Locator) -> None:
    """The ablated node has left the rows, so that none is chosen; and the keys are told to those who look for them."""
    grid, hint = page.locator(".ne-rows-grid"), page.get_by_text("Choose a row first")
    grid.press("t")
    expect(hint).to_be_visible()
    grid.press("ArrowDown")
    expect(hint).to_be_hidden()
    page.get_by_role("button", name="Keys (?)").click()
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def check_names(page: Locator) -> None:
    expect(page.page.get_by_role("region", name="Why A rather than B?")).to_have_count(1)
    headings = page.get_by_role("heading", level=2)
    assert headings.all_inner_texts() == ["Question", "Answer", "Pictures", "Nodes", "One node", "Keep"]
    expect(page.get_by_role("heading", level=4, name="Next tokens")).to_be_visible()
    for name in PICTURES:
        button = page.get_by_role("button", name=name, exact=True)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".ne-sections [aria-pressed=true]")).to_have_count(1)
        expect(page.locator(".ne-sections .ne-card")).to_be_visible()
        assert [found.group() for found in NAMELESS.finditer(page.aria_snapshot())] == []


def check_keys(opened: NotebookPage) -> None:
    """Tab reaches every control, shows where it is, and leaves the page at its end."""
    controls = page_of(opened).locator(
        ":is(button, input, select, textarea, summary, [role=grid]):not([tabindex='-1'], :disabled):visible"
    )
    page_of(opened).get_by_role("button", name="Keys (?)").press("Tab")
    opened.page.keyboard.press("Shift+Tab")
    for _ in range(120):
        here = focused(opened.page)
        if not here["isInside"]:
            break
        assert here["isSeen"], here
        opened.page.keyboard.press("Tab")
    assert not here["isInside"], f"Tab does not leave {here}"
    missed = controls.and_(opened.page.locator(":not([data-reached], table)"))
    assert missed.evaluate_all("all => all.map(each => each.outerHTML.slice(0, 120))") == []


def check_at_twice_the_size(opened: NotebookPage) -> None:
    """A window of 1300 pixels has half as many at twice the size; rows and tables scroll within themselves."""
    opened.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    opened.page.set_viewport_size({"width": 650, "height": 3600})
    panel = opened.panel.bounding_box()
    assert panel is not None
    beyond = page_of(opened).evaluate(
        """(page, end) => [...page.querySelectorAll('button, input, select, textarea, .ne-card, .ne-rows, .ne-heading')]
            .filter(each => each.checkVisibility() && !each.closest('.ne-rows-grid'))
            .filter(each => each.getBoundingClientRect().right > end || each.matches('button') &&
                each.scrollWidth > each.clientWidth + 1)
            .map(each => each.outerHTML.slice(0, 120))""",
        panel["x"] + panel["width"],
    )
    assert beyond == []
