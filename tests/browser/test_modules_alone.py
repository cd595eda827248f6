"""The module of rows in Chromium, without a kernel and without a network."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.module_harness import ModuleHarness, table_of
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.token_text import token_label

TOKENS = [" The", " quick", " brown", " fox", " saw", " the", " dog"]
BUSY = "The kernel is busy. Your choice is taken when the cell ends."

# Scrolls for about two seconds, and counts frames and tasks of the page's thread that took more than 50 ms.
SCROLL = """async () => {
    const grid = document.querySelector('.ne-rows-grid');
    const tasks = [];
    const observer = new PerformanceObserver(list => tasks.push(...list.getEntries().map(each => each.duration)));
    observer.observe({type: 'longtask'});
    const frames = [];
    let least = Infinity, before = performance.now();
    for (let step = 0; step < 120; step++) {
        grid.scrollTop += step % 30 === 29 ? 40_000 : 90;
        const now = await new Promise(done => requestAnimationFrame(done));
        frames.push(now - before);
        before = now;
        least = Math.min(least, grid.querySelectorAll('[data-place]').length);
    }
    await new Promise(done => setTimeout(done, 50));
    observer.disconnect();
    return {frames: frames.length, long: frames.filter(each => each > 50).length, tasks: tasks.length, least};
}"""


@pytest.fixture
def rows(open_module: Callable[..., ModuleHarness]) -> Callable[..., ModuleHarness]:
    """`rows(n_rows, tokens=…, **traits)` → a table of so many rows."""

    def start(n_rows: int, tokens: list[str] = TOKENS, width: int = 1300, **traits: Any) -> ModuleHarness:
        given = {"table": table_of(tokens, n_rows), "chosen": "", "sort": {}, "note": "", **traits}
        return open_module("node_rows", given, width=width)

    return start


def _grid(harness: ModuleHarness) -> Locator:
    return harness.page.get_by_role("grid")


def _column(harness: ModuleHarness, number: int) -> list[str]:
    """The texts of a column of the rows that are drawn, from top to bottom."""
    cells = harness.page.locator(f"[data-place] > :nth-child({number + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def _chosen(harness: ModuleHarness) -> Locator:
    return harness.page.locator("[data-place][aria-selected=true]")


def test_ten_thousand_rows_scroll(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(10_000)
    expect(_grid(harness)).to_have_attribute("aria-rowcount", "10001")
    expect(harness.page.locator("[data-place]").first).to_be_visible()
    for _ in range(3):  # the machine may be doing something else
        seen = harness.page.evaluate(SCROLL)
        assert seen["frames"] == 120
        assert seen["least"] >= 15  # never an empty table
        if seen["long"] + seen["tasks"] <= 2:
            break
        harness.page.locator(".ne-rows-grid").evaluate("grid => { grid.scrollTop = 0; }")
    assert seen["long"] <= 2, seen
    assert seen["tasks"] <= 2, seen
    assert harness.page.locator("[data-place]").count() < 60


def test_the_last_row_can_be_reached(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(10_000)
    _grid(harness).focus()
    harness.page.keyboard.press("End")
    expect(_chosen(harness)).to_have_attribute("aria-rowindex", "10001")
    expect(_chosen(harness)).to_be_in_viewport()
    edges = _grid(harness).evaluate("grid => grid.scrollHeight - grid.scrollTop - grid.clientHeight")
    assert abs(edges) <= 1


def test_effects_have_signs_and_the_colours_of_the_static_pages(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(20)
    scale = ColourScale(-1.0, 1.0)
    value = harness.page.locator("[data-place='0'] .ne-rows-value")
    assert value.all_inner_texts() == ["+0.3333", "+1"]
    assert _column(harness, 5)[1] == "−0.95"
    assert _column(harness, 4)[3] == ""
    colours = value.evaluate_all("all => all.map(each => getComputedStyle(each).backgroundColor)")
    expected = [scale.background(number) for number in (0.333333, 1.0)]
    assert colours == [f"rgb{tuple(int(each[at : at + 2], 16) for at in (1, 3, 5))}" for each in expected]


def test_headings_sort(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(300)
    given = _column(harness, 0)[:5]
    heading = harness.page.get_by_role("columnheader", name="total effect")
    expect(heading).to_have_attribute("aria-sort", "none")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert harness.get("sort") == {"column": "total_effect", "descending": True}
    assert _column(harness, 5)[:3] == ["+1", "+0.9933", "+0.9867"]
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert _column(harness, 5)[:2] == ["−0.9967", "−0.99"]
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "none")
    assert harness.get("sort") == {}
    assert _column(harness, 0)[:5] == given


def test_no_frame_is_empty_after_a_jump(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(2000)
    seen = """() => {
        const {top, bottom} = document.querySelector('.ne-rows-grid').getBoundingClientRect();
        return [...document.querySelectorAll('[data-place]')].map(each => each.getBoundingClientRect())
            .filter(each => each.bottom > top + 30 && each.top < bottom).length;
    }"""
    end = "new KeyboardEvent('keydown', {key: 'End', bubbles: true})"
    for jump in (
        f"document.querySelector('.ne-rows-grid').dispatchEvent({end})",
        "model.set('sort', {column: 'token', descending: true})",
        "model.set('chosen', model.get('table').rows[1200][0])",
    ):
        assert harness.page.evaluate(f"() => {{ {jump}; return ({seen})(); }}") >= 15


def test_names_sort_by_their_numbers_and_missing_values_come_last(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(300)
    harness.set(sort={"column": "name", "descending": False})
    assert [name.split("H")[0] for name in _column(harness, 0)[:14]] == ["L0"] * 13 + ["L1"]
    for descending in (True, False):
        harness.set(sort={"column": "direct_effect", "descending": descending})
        assert "" not in _column(harness, 4)
        _grid(harness).evaluate("grid => { grid.scrollTop = grid.scrollHeight; }")
        expect(harness.page.locator("[data-place='299']")).to_be_visible()
        assert _column(harness, 4)[-1] == ""


def test_the_headings_are_one_tab_stop(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(30)
    keyboard = harness.page.keyboard
    harness.page.get_by_role("searchbox").focus()
    keyboard.press("Tab")
    keyboard.press("Tab")
    expect(harness.page.get_by_role("button", name="name")).to_be_focused()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    expect(harness.page.get_by_role("columnheader", name="position")).to_have_attribute("aria-sort", "descending")
    expect(harness.page.get_by_role("button", name="position")).to_be_focused()


def test_the_filter(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(600)
    keyboard = harness.page.keyboard
    count = harness.page.locator(".ne-rows-count")
    expect(count).to_have_text("600 rows")
    _grid(harness).focus()
    keyboard.press("/")
    expect(harness.page.get_by_role("searchbox")).to_be_focused()
    keyboard.type("l2 THE")
    expect(count).to_have_text("7 of 600 rows")  # not those of L20 to L23
    assert {name.split("H")[0] for name in _column(harness, 0)} == {"L2"}
    assert {token.lower() for token in _column(harness, 1)} == {"the"}
    expect(_grid(harness)).to_have_attribute("aria-rowcount", "8")
    keyboard.type(" nothing")
    expect(harness.page.get_by_text("No row has all these words.")).to_be_visible()
    keyboard.press("Escape")
    expect(count).to_have_text("600 rows")


def test_keys_move_and_act(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(200)
    names = [row[0] for row in harness.get("table")["rows"]]
    keyboard = harness.page.keyboard
    _grid(harness).focus()
    for key, place in [
        ("ArrowDown", 0),
        ("ArrowDown", 1),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
        ("End", 199),
        ("PageUp", 185),
        ("Home", 0),
        ("PageDown", 14),
    ]:
        keyboard.press(key)
        expect(_chosen(harness)).to_have_attribute("data-place", str(place))
        expect(_chosen(harness)).to_be_in_viewport()
        expect(_grid(harness)).to_have_attribute("aria-activedescendant", _chosen(harness).get_attribute("id") or "?")
    for key in ("Enter", "a", "t", "v", "Control+a", "Alt+ArrowLeft", "x"):
        keyboard.press(key)
    assert harness.sent == [{"kind": kind, "node": names[14]} for kind in ("open", "ablate", "trace", "verify")]
    assert harness.get("chosen") == names[14]
    assert harness.page.evaluate("() => window.saved.at(-1).chosen") == names[14]


def test_a_held_key_tells_python_one_choice(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(200)
    _grid(harness).focus()
    for _ in range(30):
        harness.page.keyboard.press("ArrowDown")
    harness.page.wait_for_timeout(200)
    assert harness.get("chosen") == harness.get("table")["rows"][29][0]
    assert harness.page.evaluate("() => window.saved.length") < 10


@pytest.mark.parametrize("width", [1300, 600])
def test_the_pointer(rows: Callable[..., ModuleHarness], width: int) -> None:
    harness = rows(50, width=width)
    names = [row[0] for row in harness.get("table")["rows"]]
    harness.page.locator("[data-place='3'] > :nth-child(3)").click()
    harness.page.wait_for_function("() => model.get('chosen')")
    assert [each["kind"] for each in harness.sent] == ["open"]
    assert harness.get("chosen") == names[3]
    for label in ("Ablate", "Trace", "Verify", "Open"):
        harness.page.get_by_role("button", name=f"{label} {names[3]}", exact=True).click()
    harness.page.get_by_text(names[5], exact=True).dblclick()
    harness.page.locator("[data-place='7'] > :nth-child(3)").dblclick()
    kinds = [(each["kind"], names.index(each["node"])) for each in harness.sent[1:]]
    assert kinds == [("ablate", 3), ("trace", 3), ("verify", 3), ("open", 3), ("open", 5), ("open", 7)]
    expect(_grid(harness)).to_be_focused()


def test_python_chooses_and_changes_the_table(rows: Callable[..., ModuleHarness]) -> None:
    names = [row[0] for row in table_of(TOKENS, 500)["rows"]]
    harness = rows(500, chosen=names[300])
    expect(_chosen(harness)).to_contain_text(names[300])
    expect(_chosen(harness)).to_be_in_viewport()
    name = names[444]
    harness.set(chosen=name, note="500 of 9,000 nodes")
    expect(_chosen(harness)).to_contain_text(name)
    expect(_chosen(harness)).to_be_in_viewport()
    expect(harness.page.get_by_text("500 of 9,000 nodes")).to_be_visible()
    harness.set(table=table_of(TOKENS, 40))
    expect(harness.page.locator(".ne-rows-count")).to_have_text("40 rows")
    expect(_chosen(harness)).to_have_count(0)
    harness.set(table={})
    expect(harness.page.get_by_text("No rows.")).to_be_visible()
    harness.set(table=table_of(TOKENS, 1))
    expect(harness.page.locator(".ne-rows-count")).to_have_text("1 row")


def test_the_notice_while_the_kernel_is_busy(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(20, taken=41)
    notice = harness.page.locator(".ne-rows-busy")
    expect(notice).to_have_attribute("role", "status")
    _grid(harness).focus()
    harness.page.keyboard.press("ArrowDown")
    harness.page.keyboard.press("Enter")
    assert harness.page.evaluate("() => window.sent[0].number") == 42
    harness.take()
    harness.page.wait_for_timeout(900)
    expect(notice).to_have_text("")
    harness.page.keyboard.press("a")
    harness.page.keyboard.press("t")
    expect(notice).to_have_text(BUSY, timeout=2000)
    harness.set(taken=43)
    expect(notice).to_have_text(BUSY)
    harness.take()
    expect(notice).to_have_text("")


def test_hostile_tokens_are_text_in_rows(rows: Callable[..., ModuleHarness]) -> None:
    tokens = [*HOSTILE_TOKENS, "$x^2$"]
    table = table_of(tokens, len(tokens))
    for row, token in zip(table["rows"], tokens, strict=True):
        row[0] = token
    table["columns"][0]["label"] = table["columns"][0]["name"] = HOSTILE_TOKENS[1]
    table["palette"] = ["red;background:url(http://harness.invalid/x)"] * 65
    harness = rows(0, table=table, note=HOSTILE_TOKENS[0], chosen=HOSTILE_TOKENS[1])
    for _ in tokens:
        _grid(harness).focus()
        harness.page.keyboard.press("ArrowDown")
        _chosen(harness).hover()
    harness.page.keyboard.press("Home")
    expect(_chosen(harness)).to_contain_text("<script>window.pwned=1</script>")
    harness.page.keyboard.press("Enter")
    assert harness.sent == [{"kind": "open", "node": HOSTILE_TOKENS[0]}]
    card = harness.page.locator(".ne-rows.tex2jax_ignore.mathjax_ignore")
    assert card.locator("img, iframe, svg, script, [onmouseover], [onfocus], [autofocus]").count() == 0
    assert harness.page.evaluate("() => window.pwned ?? null") is None


def test_tokens_as_rows_of_gives_them(rows: Callable[..., ModuleHarness]) -> None:
    tokens = [token_label(token) for token in HOSTILE_TOKENS]
    harness = rows(len(tokens), tokens=tokens)
    harness.page.locator(".ne-rows-grid").evaluate("grid => { grid.style.maxHeight = 'none'; }")
    expect(harness.page.locator(f"[data-place='{len(tokens) - 1}']")).to_be_visible()
    cells = harness.page.locator("[data-place] > :nth-child(2)").all_text_contents()
    assert cells == tokens


def test_the_view_of_rows_goes_without_a_trace(rows: Callable[..., ModuleHarness]) -> None:
    harness = rows(100)
    _grid(harness).focus()
    harness.page.keyboard.press("ArrowDown")
    harness.page.keyboard.press("Enter")
    harness.page.evaluate("() => window.remove()")
    assert harness.page.locator(".ne-rows").count() == 0
    assert harness.page.evaluate("() => [...listeners.values()].flat().length") == 0
    harness.page.wait_for_timeout(900)
    harness.set(table=table_of(TOKENS, 3))


def test_rows_say_that_they_are_there_only_then(open_module: Callable[..., ModuleHarness]) -> None:
    body = '<div class="ne-attribution-viewer"><div id="here"></div><div class="ne-replaced-by-rows">old</div></div>'
    harness = open_module("node_rows", {"table": table_of(TOKENS, 5), "chosen": "", "sort": {}}, body=body)
    expect(harness.page.get_by_text("old")).to_be_hidden()
    harness.page.evaluate("() => window.remove()")
    expect(harness.page.get_by_text("old")).to_be_visible()
    assert harness.page.locator(".ne-module-rows").count() == 0
