"""The module of a whole page in Chromium, without a kernel and without a network."""

import html
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.module_harness import ModuleHarness

BUSY = "The kernel is busy. Your choice is taken when the cell ends."
CELL = '<td data-ne-node="L{column}H{row}" title="L{column}H{row}: 0.5" style="width:20px;height:20px"></td>'
TILE = (
    "<img alt='L{row}H{column}' data-ne-node='L{row}H{column}' width='30' height='30' style='margin:2px' "
    "src='data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7'>"
)


def _map() -> str:
    rows = "".join(
        "<tr>" + "".join(CELL.format(row=row, column=column) for column in range(4)) + "</tr>" for row in range(3)
    )
    return f'<table data-ne-grid="columns" id="map">{rows}</table>'


def _tiles() -> str:
    rows = "".join(
        "<div>" + "".join(TILE.format(row=row, column=column) for column in range(4)) + "</div>" for row in range(3)
    )
    return f'<div data-ne-grid="columns" id="tiles">{rows}</div>'


def _strip(tokens: list[str]) -> str:
    marks = "".join(
        f'<bdi data-ne-token="{position}">{html.escape(token)}</bdi>' for position, token in enumerate(tokens)
    )
    return f'<div class="ne-text" id="strip">{marks}</div>'


BODY = f"""
<p><button id="before">before</button></p>
<div class="ne-attribution-viewer" id="root">
  <div class="ne-replaced">core controls</div>
  <input id="field" aria-label="Prompt"> <textarea id="area"></textarea> <button id="button">Ask</button>
  <div id="here"></div>
  {_map()}{_tiles()}
  <div id="slot">{_strip(["The", " cat", " sat"])}</div>
  <table id="names"><tr><td><span data-ne-node="L1N5@2">L1N5@2</span></td></tr>
  <tr><td><span data-ne-node="L0N7@1">L0N7@1</span></td></tr></table>
  <div class="ne-filter"><input id="filter" aria-label="Filter"></div>
  <details><summary data-ne-node="L9">a summary</summary><a data-ne-node="L8H8" href="#x">a link</a></details>
</div>
<p data-ne-node="L7H7" id="outside">outside</p>
"""


@pytest.fixture
def opened(open_module: Callable[..., ModuleHarness]) -> Callable[..., ModuleHarness]:
    """`opened(body)` → a page with the module in it."""
    return lambda body=BODY: open_module("page", {}, body=body)


def _marked(harness: ModuleHarness, group: str, node: str) -> Locator:
    return harness.page.locator(f'#{group} [data-ne-node="{node}"]')


def test_what_is_replaced_goes_once_the_module_works(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    expect(harness.page.locator("#root")).to_have_class("ne-attribution-viewer ne-module")
    expect(harness.page.get_by_text("core controls")).to_be_hidden()


def test_clicks_open_nodes_and_tokens(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    _marked(harness, "map", "L2H1").click()
    _marked(harness, "tiles", "L1H3").click()
    harness.page.get_by_text("sat").click()
    harness.page.get_by_text("L1N5@2").dblclick()
    harness.page.locator("#outside").click()
    harness.page.locator("#button").click()
    assert harness.sent == [
        {"kind": "open", "node": "L2H1"},
        {"kind": "open", "node": "L1H3"},
        {"kind": "token", "node": "2"},
        {"kind": "open", "node": "L1N5@2"},
    ]


def test_text_that_is_marked_opens_nothing(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    box = harness.page.get_by_text("L1N5@2").bounding_box()
    assert box is not None
    mouse = harness.page.mouse
    mouse.move(box["x"] + 1, box["y"] + 8)
    mouse.down()
    mouse.move(box["x"] + box["width"] - 1, box["y"] + 8, steps=4)
    mouse.up()
    assert harness.page.evaluate("() => getSelection().toString()")
    assert harness.sent == []


def test_a_map_is_one_tab_stop_with_arrow_keys(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    keyboard = harness.page.keyboard
    expect(harness.page.locator("#map")).to_have_attribute("role", "grid")
    expect(harness.page.locator("#tiles")).to_have_attribute("role", "group")
    harness.page.locator("#button").focus()
    keyboard.press("Tab")
    expect(_marked(harness, "map", "L0H0")).to_be_focused()
    for key, node in [
        ("ArrowRight", "L1H0"),
        ("ArrowDown", "L1H1"),
        ("ArrowDown", "L1H2"),
        ("ArrowDown", "L1H2"),
        ("End", "L3H2"),
        ("ArrowUp", "L3H1"),
        ("Home", "L0H1"),
        ("ArrowRight", "L1H1"),
        ("ArrowLeft", "L0H1"),
    ]:
        keyboard.press(key)
        expect(_marked(harness, "map", node)).to_be_focused()
    expect(_marked(harness, "map", "L0H1")).to_have_accessible_name("L0H1: 0.5")
    keyboard.press("Enter")
    keyboard.press("Space")
    keyboard.press("Tab")
    expect(_marked(harness, "tiles", "L0H0")).to_be_focused()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    keyboard.press("Tab")
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    keyboard.press("Tab")
    keyboard.press("ArrowDown")
    expect(harness.page.get_by_role("button", name="L0N7@1")).to_be_focused()
    keyboard.press("Shift+Tab")
    keyboard.press("Shift+Tab")
    expect(_marked(harness, "tiles", "L1H1")).to_be_focused()  # a group remembers where one was
    assert harness.sent == [
        {"kind": "open", "node": "L0H1"},
        {"kind": "open", "node": "L0H1"},
        {"kind": "open", "node": "L1H1"},
        {"kind": "token", "node": "1"},
    ]


def test_html_that_appears_later(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    harness.page.locator("#slot").evaluate(
        "(slot, text) => { slot.innerHTML = text; }", _strip(["A", "B"]) + _map().replace('"map"', '"later"')
    )
    harness.page.get_by_text("before").focus()
    expect(harness.page.locator("#later")).to_have_attribute("role", "grid")
    assert harness.page.locator("#later [tabindex='0']").count() == 1
    assert harness.page.locator("#strip [tabindex='0']").count() == 1
    _marked(harness, "later", "L1H1").click()
    assert harness.sent == [{"kind": "open", "node": "L1H1"}]


def test_the_focus_stays_where_a_page_is_written_anew(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    slot = harness.page.locator("#slot")
    harness.page.locator('#slot [data-ne-token="1"]').focus()
    slot.evaluate("(slot, text) => { slot.innerHTML = text; }", _strip(["The", " cat", " sat"]))
    expect(harness.page.locator('#slot [data-ne-token="1"]')).to_be_focused()
    slot.evaluate("slot => { slot.innerHTML = ''; }")
    harness.page.wait_for_timeout(50)
    slot.evaluate("(slot, text) => { slot.innerHTML = text; }", _strip(["The", " cat", " sat"]))
    expect(harness.page.locator('#slot [data-ne-token="1"]')).to_be_focused()
    slot.evaluate("slot => { slot.innerHTML = ''; }")
    harness.page.locator("#field").focus()
    slot.evaluate("(slot, text) => { slot.innerHTML = text; }", _strip(["The", " cat", " sat"]))
    harness.page.wait_for_timeout(50)
    expect(harness.page.locator("#field")).to_be_focused()


def test_shortcuts(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    keyboard = harness.page.keyboard
    for element in ("#field", "#area"):
        harness.page.locator(element).focus()
        for key in ("Alt+ArrowLeft", "/", "?"):
            keyboard.press(key)
    harness.page.locator("#before").focus()
    keyboard.press("?")
    assert harness.page.locator("#field").input_value() == "/?"
    assert harness.sent == []
    assert harness.page.get_by_role("dialog").count() == 0
    harness.page.locator("#button").focus()
    keyboard.press("Alt+ArrowLeft")
    keyboard.press("Alt+ArrowRight")
    assert harness.sent == [{"kind": "back"}, {"kind": "forward"}]
    assert harness.page.url.endswith("harness.invalid/")
    keyboard.press("/")
    expect(harness.page.locator("#filter")).to_be_focused()
    harness.page.locator("#button").focus()
    keyboard.press("?")
    dialog = harness.page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("verify")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(harness.page.locator("#button")).to_be_focused()


def test_jupyter_takes_no_keys_but_those_with_ctrl(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    # What JupyterLab does: it listens on the document while the event goes down, and asks the target's parents.
    harness.page.evaluate(
        """() => {
            window.taken = [];
            document.addEventListener('keydown', event => {
                if (!event.target.closest('[data-lm-suppress-shortcuts]')) window.taken.push(event.key);
            }, true);
            window.takenByOlder = [];
            document.addEventListener('keydown', event => window.takenByOlder.push(event.key));
        }"""
    )
    harness.page.locator("#button").focus()
    for key in ("a", "Control+s", "b", "Control+Shift+c", "d"):
        harness.page.keyboard.press(key)
    for taken in ("taken", "takenByOlder"):
        assert harness.page.evaluate(f"() => window.{taken}.filter(key => key.length === 1)") == ["s", "c"]


def test_the_notice_on_the_page(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    notice = harness.page.locator(".ne-busy")
    expect(notice).to_have_attribute("role", "status")
    _marked(harness, "map", "L0H0").click()
    expect(notice).to_have_text(BUSY, timeout=2000)
    harness.take()
    expect(notice).to_have_text("")


def test_hostile_marks_run_nothing(opened: Callable[..., ModuleHarness]) -> None:
    marks = "".join(
        f'<span data-ne-node="{html.escape(token)}">{html.escape(token)}|</span>' for token in HOSTILE_TOKENS
    )
    harness = opened(f'<div class="ne-attribution-viewer"><div id="here"></div><div id="slot">{marks}</div></div>')
    harness.page.locator("#slot span").first.focus()
    for _ in HOSTILE_TOKENS:
        harness.page.keyboard.press("Enter")
        harness.page.evaluate("text => { document.querySelector('#slot').innerHTML = text; }", marks)
        harness.page.wait_for_timeout(10)
        harness.page.keyboard.press("ArrowRight")
    assert [each["node"] for each in harness.sent][:5] == HOSTILE_TOKENS[:5]
    assert harness.page.evaluate("() => window.pwned ?? null") is None


def test_the_module_of_a_page_goes_without_a_trace(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened()
    _marked(harness, "map", "L0H0").click()
    harness.page.locator("#button").focus()
    harness.page.keyboard.press("?")
    harness.page.evaluate("() => window.remove()")
    harness.page.evaluate("() => document.querySelector('#here').replaceChildren()")
    left = harness.page.evaluate("() => document.body.innerHTML")
    expected = harness.page.evaluate(
        "text => { const made = document.createElement('div'); made.innerHTML = text; return made.innerHTML; }", BODY
    )
    assert left == expected
    assert harness.page.evaluate("() => [...listeners.values()].flat().length") == 0
    _marked(harness, "map", "L1H0").click()
    assert len(harness.sent) == 1


def test_a_module_that_is_on_no_page_of_ours_does_nothing(opened: Callable[..., ModuleHarness]) -> None:
    harness = opened(f'<div id="here"></div>{_map()}')
    _marked(harness, "map", "L1H0").click()
    assert harness.sent == []
    assert harness.page.locator("[tabindex]").count() == 0
