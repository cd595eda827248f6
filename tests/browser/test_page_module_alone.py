"""The module of a whole page in Chromium, without a kernel and without a network."""

import html
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.module_harness import ModuleHarness
from neuron_explainer.widgets.modules.page import PAGE_SHORTCUTS, VIEWER_SHORTCUTS

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
  <div class="ne-rows"></div>
  <details><summary data-ne-node="L9">a summary</summary><a data-ne-node="L8H8" href="#x">a link</a></details>
</div>
<p data-ne-node="L7H7" id="outside">outside</p>
"""
PAGE = {"shortcuts": list(PAGE_SHORTCUTS), "label": "Why A rather than B?"}
VIEWER_BODY = f"""
<div class="ne-viewer" id="root" style="display:flex;flex-direction:column">
  <p id="words">some words</p>
  <div class="ne-ask"><input id="field"></div> <textarea id="area"></textarea>
  <select id="choice" size="3"><option>one<option selected>two<option>three</select>
  <input id="range" type="range" min="0" max="9" value="5"> <button id="button">Next</button>
  <input id="box" type="checkbox">
  <div id="here"></div>
  <div id="long" tabindex="0" style="height:40px;overflow:auto"><div style="height:200px">long</div></div>
  {_map()}
  <div id="slot"><ul><li><a data-ne-node="L1N5">L1N5</a></li></ul></div>
</div>
<button id="outside">outside</button>
"""


@pytest.fixture
def opened(open_module: Callable[..., ModuleHarness]) -> Callable[..., ModuleHarness]:
    """`opened(body)` → a page with the module in it."""
    return lambda body=BODY: open_module("page", PAGE, body=body)


@pytest.fixture
def opened_viewer(open_module: Callable[..., ModuleHarness]) -> Callable[..., ModuleHarness]:
    """`opened_viewer(shortcuts)` → a viewer of neurons with the module in it."""
    traits = {"label": "Neurons"}
    return lambda shortcuts=VIEWER_SHORTCUTS: open_module(
        "page", {**traits, "shortcuts": list(shortcuts)}, body=VIEWER_BODY
    )


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
    expect(dialog).not_to_contain_text("layer up")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(harness.page.locator("#button")).to_be_focused()


KEYS = {
    "ArrowRight": "next",
    "ArrowLeft": "previous",
    "ArrowUp": "layer_up",
    "ArrowDown": "layer_down",
    "r": "random",
    "b": "bookmark",
}


def test_the_keys_of_a_viewer(opened_viewer: Callable[..., ModuleHarness]) -> None:
    harness = opened_viewer()
    page = harness.page
    expect(page.get_by_role("region", name="Neurons")).to_have_class("ne-viewer ne-module")
    page.locator("#words").click()
    expect(page.locator("#root")).to_be_focused()
    for focused in (None, "#button", "#box"):
        if focused:
            page.locator(focused).focus()
        before = len(harness.sent)
        for key in (*KEYS, "Shift+ArrowRight", "Control+b", "Alt+ArrowLeft", "Control+Enter"):
            page.keyboard.press(key)
        assert harness.sent[before:] == [{"kind": kind} for kind in KEYS.values()]
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    for words in ("layer up", "bookmark", "at random", "open the node"):
        expect(dialog).to_contain_text(words)
    for words in ("ask", "back", "verify", "filter"):
        expect(dialog).not_to_contain_text(words)
    before = len(harness.sent)
    page.keyboard.press("ArrowRight")
    assert len(harness.sent) == before


@pytest.mark.parametrize("element", ["#field", "#area", "#choice", "#outside"])
def test_fields_keep_all_keys(opened_viewer: Callable[..., ModuleHarness], element: str) -> None:
    harness = opened_viewer()
    harness.page.locator(element).focus()
    for key in (*KEYS, "Control+Enter", "Alt+ArrowLeft"):
        harness.page.keyboard.press(key)
    assert harness.sent == []


def test_what_has_arrow_keys_of_its_own_keeps_them(opened_viewer: Callable[..., ModuleHarness]) -> None:
    harness = opened_viewer()
    page = harness.page
    page.locator("#range").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#range").input_value() == "6"
    page.locator("#long").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.querySelector('#long').scrollTop > 0")
    _marked(harness, "map", "L3H0").focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowRight", "End"):
        page.keyboard.press(key)
    page.locator('[data-ne-node="L1N5"]').focus()
    page.keyboard.press("ArrowRight")
    assert harness.sent == []
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    assert harness.sent == [{"kind": "random"}, {"kind": "open", "node": "L1N5"}]


def test_only_what_python_offers_is_sent(opened_viewer: Callable[..., ModuleHarness]) -> None:
    harness = opened_viewer(["next", "back"])
    harness.page.locator("#button").focus()
    for key in (*KEYS, "Alt+ArrowLeft", "Alt+ArrowRight"):
        harness.page.keyboard.press(key)
    assert harness.sent == [{"kind": "next"}, {"kind": "back"}]


def test_a_key_that_is_held_waits_for_the_kernel(opened_viewer: Callable[..., ModuleHarness]) -> None:
    harness = opened_viewer()
    keyboard = harness.page.keyboard
    harness.page.locator("#button").focus()
    for _ in range(5):
        keyboard.down("ArrowRight")
    assert harness.sent == [{"kind": "next"}]
    harness.take()
    keyboard.down("ArrowRight")
    assert harness.sent == [{"kind": "next"}] * 2
    keyboard.up("ArrowRight")
    harness.take()
    for _ in range(3):
        keyboard.down("b")
        harness.take()
    assert harness.sent[2:] == [{"kind": "bookmark"}]


def test_keys_work_on_after_a_link_has_opened_another_page(opened_viewer: Callable[..., ModuleHarness]) -> None:
    harness = opened_viewer()
    page = harness.page
    page.get_by_role("button", name="L1N5").focus()
    page.keyboard.press("Enter")
    slot = page.locator("#slot")
    slot.evaluate("slot => { slot.innerHTML = '<p>the page of L1N5</p>'; }")
    expect(page.locator("#root")).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert harness.sent == [{"kind": "open", "node": "L1N5"}, {"kind": "next"}]
    slot.evaluate("""slot => { slot.innerHTML = '<a data-ne-node="L1N5">L1N5</a>'; }""")
    expect(page.get_by_role("button", name="L1N5")).to_be_focused()


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


def test_the_module_of_a_viewer_goes_without_a_trace(opened_viewer: Callable[..., ModuleHarness]) -> None:
    harness = opened_viewer()
    harness.page.evaluate("() => window.remove()")
    assert harness.page.locator("#root").evaluate("root => root.getAttributeNames()") == ["class", "id", "style"]


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
