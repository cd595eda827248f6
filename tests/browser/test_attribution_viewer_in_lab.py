"""The page of an answer in JupyterLab: a walk by mouse and keyboard, with the front end's module and without it."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Route, expect

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.lab_in_chromium import JupyterServer, NotebookPage

SETUP = """
import neuron_explainer as ne
model = ne.load_model("tiny")
viewer = ne.AttributionViewer(
    model, "And the LORD said unto", " Moses", " her", other_prompt="And the king said unto"
)
viewer
"""
LONG = 30_000  # milliseconds
MOST_PICTURE_BYTES = 300_000
Run = Callable[..., NotebookPage]
Write = Callable[..., Path]


def page_of(opened: NotebookPage) -> Locator:
    return opened.panel.locator(".ne-attribution-viewer")


def button(page: Locator, name: str) -> Locator:
    return page.locator("button:visible", has_text=name).last


def expect_title(page: Locator, text: str) -> None:
    expect(page.locator(".ne-status [role=status]")).to_contain_text(f"Showing {text} = ", timeout=LONG)


CUT_OFF = """page => {
    const shown = [...page.querySelectorAll("button:not(.ne-rows-sort), input, select, textarea, .ne-card")];
    const end = page.closest(".jp-NotebookPanel").getBoundingClientRect().right + 1;
    const cut = shown.filter(e => e.offsetParent && e.getBoundingClientRect().right > end);
    return cut.map(e => e.outerHTML.slice(0, 200));
}"""


def fits(opened: NotebookPage) -> None:
    """No control and no card is cut off at the right; the rows scroll within their own place."""
    assert page_of(opened).evaluate(CUT_OFF) == []


def test_a_walk(
    run_notebook: Run,
    open_notebook: Run,
    write_notebook: Write,
    in_dark_theme: Callable[[NotebookPage], None],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    opened = run_notebook(write_notebook("walk", SETUP), height=3000)
    page = page_of(opened)
    # Ask
    page.get_by_label("Prompt", exact=True).fill("Mr. Darcy looked at Elizabeth and said to")
    page.get_by_label("Target").fill("her")
    expect(page.locator(".ne-ask")).to_contain_text("no leading space", timeout=LONG)
    page.get_by_label("Target").fill(" her")
    page.get_by_label("Distractor").fill(" him")
    page.get_by_label("2nd prompt", exact=True).fill("Mr. Darcy looked at Elizabeth and came to")
    page.get_by_label("Distractor").press("Control+Enter")
    expect_title(page, "logit of ' her' minus that of ' him'")
    fits(opened)
    # Sort and filter, which the front end does by itself
    rows = page.locator(".ne-rows-grid [data-place]")
    expect(page.locator(".ne-replaced-by-rows")).to_be_hidden()
    page.locator("[role=columnheader]", has_text="activation").click()
    expect(page.locator("[role=columnheader]", has_text="activation")).to_have_attribute("aria-sort", "descending")
    page.locator("[role=columnheader]", has_text="total effect").click()
    page.get_by_label("Kind").select_option("heads")
    expect(rows.first).to_contain_text("H", timeout=LONG)
    expect(page.locator(".ne-rows-grid")).not_to_contain_text("EMB@")
    # Open a node
    name = rows.nth(2).locator("[role=gridcell], [role=rowheader]").first.inner_text()
    rows.nth(2).click()
    expect(page.locator(".ne-node-panel .ne-node")).to_contain_text(name.split("@")[0], timeout=LONG)
    expect(page.locator(".ne-node-panel .ne-viewer .ne-record")).to_be_visible(timeout=LONG)
    # Ablate it by its key, and remove the ablation
    page.locator(".ne-rows-grid").focus()
    opened.page.keyboard.press("a")
    change = page.locator(".ne-changes .ne-change")
    expect(change).to_contain_text(f"{name} = 0", timeout=LONG)
    expect(change).to_contain_text("→")
    picture = request.config.getoption("--page-picture") or tmp_path / "page.png"
    opened.picture(picture, page, until=page.get_by_text("One node"))
    assert picture.stat().st_size <= MOST_PICTURE_BYTES
    button(page.locator(".ne-changes"), "Remove").click()
    expect(change).to_be_hidden(timeout=LONG)
    # Trace it and go back
    page.locator(".ne-rows-grid").focus()
    opened.page.keyboard.press("t")
    expect(page.locator(".ne-attribution").first).to_contain_text("attention logit", timeout=LONG)
    page.get_by_title("The answer before this one (Alt+Left)").click()
    expect_title(page, "logit of ' her' minus that of ' him'")
    # Compare, and look at the pictures
    page.get_by_label("compare with the 2nd prompt").check()
    expect(page.locator(".ne-comparison")).to_contain_text("the first minus the second", timeout=LONG)
    expect(page.locator("[role=columnheader]", has_text="difference").first).to_be_visible()
    fits(opened)
    # From here on narrow and dark
    in_dark_theme(opened)
    opened.page.set_viewport_size({"width": 800, "height": 3000})
    opened.page.wait_for_timeout(300)
    fits(opened)
    page.get_by_label("compare with the 2nd prompt").uncheck()
    button(page, "All attention").click()
    tile = page.locator(".ne-sections img[alt=L2H1]")
    tile.click()
    expect(page.locator(".ne-node-panel .ne-node")).to_contain_text("L2H1", timeout=LONG)
    fits(opened)
    # Keep
    page.get_by_label("Notes").fill("as expected")
    button(page, "Show the code").click()
    code = page.locator("textarea:visible").and_(page.get_by_label("Code"))
    expect(code).to_have_value(re.compile(r"ne\.attribute\(model, 'Mr. Darcy"))
    copy = opened.panel.locator(".ne-attribution", has_text="as expected")
    expect(copy).to_have_count(1, timeout=LONG)
    expect(copy).to_be_hidden()
    saved = opened.save()
    assert "widgets" not in saved.metadata
    opened.server.stop_kernels()
    path = opened.server.root / "received.ipynb"
    nbformat.write(saved, path)
    received = open_notebook(path, with_kernel=False)
    card = received.panel.locator(".ne-card.ne-attribution:visible")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("as expected")
    expect(card).to_contain_text("ne.attribute(model, 'Mr. Darcy")
    expect(received.panel.get_by_text("Error displaying widget")).to_be_hidden()


def test_the_same_walk_without_the_module(open_notebook: Run, write_notebook: Write) -> None:
    opened = open_notebook(write_notebook("plain", SETUP), height=2600)

    def refuse(route: Route) -> None:
        route.abort()

    opened.page.context.route("**/anywidget/**", refuse)
    opened.page.reload()
    opened.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel")
    opened.run_all()
    page = page_of(opened)
    expect(page.locator(".ne-replaced-by-rows")).to_be_visible(timeout=LONG)
    expect(page.locator(".ne-rows-grid")).to_have_count(0)
    expect(opened.panel.get_by_text("Failed to load")).to_be_hidden()
    page.get_by_label("Prompt", exact=True).fill("Mr. Darcy looked at Elizabeth and said to")
    page.get_by_label("Target").fill(" her")
    page.get_by_label("Distractor").fill(" him")
    page.get_by_label("2nd prompt", exact=True).fill("Mr. Darcy looked at Elizabeth and came to")
    button(page, "Ask").click()
    expect_title(page, "logit of ' her' minus that of ' him'")
    page.get_by_label("Kind").select_option("heads")
    page.get_by_label("Largest", exact=True).fill("200")
    page.get_by_label("Largest", exact=True).press("Tab")
    page.get_by_label("Sorted by").select_option("activation")
    expect(page.locator(".ne-replaced-by-rows")).to_contain_text("rows 1 to 50", timeout=LONG)
    button(page, "Rows after").click()
    expect(page.locator(".ne-replaced-by-rows")).to_contain_text("rows 51 to 100", timeout=LONG)
    field = page.get_by_label("Node", exact=True)
    field.fill("L2H3@5<-1")
    field.press("Tab")
    button(page, "Open").click()
    expect(page.locator(".ne-node-panel .ne-node")).to_contain_text("L2H3", timeout=LONG)
    button(page, "Ablate").click()
    change = page.locator(".ne-changes .ne-change")
    expect(change).to_contain_text("L2H3@5<-1 = 0", timeout=LONG)
    button(page.locator(".ne-changes"), "Remove").click()
    expect(change).to_be_hidden(timeout=LONG)
    button(page, "Trace").click()
    expect(page.locator(".ne-attribution").first).to_contain_text("attention logit", timeout=LONG)
    page.get_by_title("The answer before this one (Alt+Left)").click()
    expect_title(page, "logit of ' her' minus that of ' him'")
    button(page, "Verify").click()
    expect(page.locator(".ne-node-panel .ne-node")).to_contain_text("measured", timeout=LONG)
    page.get_by_label("compare with the 2nd prompt").check()
    expect(page.locator(".ne-comparison")).to_be_visible(timeout=LONG)


def test_hostile_tokens_are_text(run_notebook: Run, write_notebook: Write) -> None:
    opened = run_notebook(write_notebook("hostile_page", SETUP), height=2600)
    page = page_of(opened)
    page.get_by_label("Target").fill('<img src=x onerror="window.pwned=2">')
    expect(page.locator(".ne-ask")).to_contain_text("onerror", timeout=LONG)
    # Some at a time, because the model reads 128 tokens
    for start in (0, 3, 5, 8, 14):
        text = "".join(HOSTILE_TOKENS[start : {0: 3, 3: 5, 5: 8, 8: 14}.get(start)]) + " $x$ and $$y$$"
        page.get_by_label("Prompt", exact=True).fill(text)
        page.get_by_label("2nd prompt", exact=True).fill(text)
        button(page, "Ask").click()
        expect(page.locator(".ne-status [role=status]")).to_contain_text("onerror", timeout=LONG)
    for name in ("Heads", "Layers × tokens", "One head's attention", "All attention", "By token"):
        button(page, name).click()
        opened.page.wait_for_timeout(300)
    page.locator(".ne-rows-grid [data-place]").first.click()
    expect(page.locator(".ne-node-panel .ne-node")).to_be_visible(timeout=LONG)
    assert opened.flag() is None
    hidden = "img:not([alt^=L]), iframe, svg, script, [onmouseover], [onerror], [onfocus], [autofocus], mjx-container"
    assert page.locator(hidden).count() == 0
    assert "\u202e" not in page.inner_text()


BUSY = "import time\ntime.sleep(6)\nprint('the cell has ended')"


def run_second_cell(opened: NotebookPage, code: str) -> None:
    """Run the second cell with other code, and do not wait for its end."""
    opened.page.evaluate(
        """code => {
            const cells = window.jupyterapp.shell.currentWidget.content;
            cells.widgets[1].model.sharedModel.setSource(code);
            cells.activeCellIndex = 1;
            window.jupyterapp.commands.execute('notebook:run-cell');
        }""",
        code,
    )
    opened.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )


def ablate_by_hand(page: Locator) -> Locator:
    page.locator(".ne-rows-grid [data-place]").first.click()
    page.locator(".ne-rows-grid").focus()
    page.page.keyboard.press("a")
    return page.locator(".ne-changes .ne-change")


def test_the_page_answers_while_a_cell_runs(run_notebook: Run, write_notebook: Write) -> None:
    opened = run_notebook(write_notebook("busy", SETUP, "print('once')"), height=2600)
    run_second_cell(opened, BUSY)
    change = ablate_by_hand(page_of(opened))
    expect(change).to_contain_text("= 0", timeout=4_000)
    ended = opened.outputs().filter(has_text="the cell has ended")
    assert ended.count() == 0
    expect(ended).to_be_visible(timeout=LONG)


def test_without_subshells_the_page_says_that_it_waits(
    run_notebook: Run, write_notebook: Write, server: JupyterServer
) -> None:
    setting = "/lab/api/settings/@jupyterlab/apputils-extension:kernels-settings"
    server.request("PUT", setting, {"raw": '{"commsOverSubshells": "disabled"}'})
    try:
        opened = run_notebook(write_notebook("waits", SETUP, "print('once')"), height=2600)
        run_second_cell(opened, BUSY)
        change = ablate_by_hand(page_of(opened))
        notice = page_of(opened).get_by_text("The kernel is busy")
        expect(notice.first).to_be_visible(timeout=4_000)
        assert opened.outputs().filter(has_text="the cell has ended").count() == 0
        expect(change).to_contain_text("= 0", timeout=LONG)
        expect(notice).to_be_hidden()
    finally:
        server.request("PUT", setting, {"raw": "{}"})
