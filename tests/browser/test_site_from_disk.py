"""A static site in Chromium, opened from the disk: with scripts and without, and with nothing but itself to load."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.neuron_records import INFO, TOKENS
from helpers.packed_layers import layer_by_token
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer

NODES = [f"L{layer}N{index}" for layer in (0, 2) for index in range(130)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ne.export_site("tiny", tmp_path_factory.mktemp("site") / "pages", nodes=NODES, progress=False).path


@pytest.fixture
def opened(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """`opened(path, **of_context)` → a page. At the end none may have reported an error, or asked beside the disk."""
    complaints: list[str] = []
    contexts = []
    folder = request.config.getoption("--screenshots")

    def open_one(path: Path, **options: Any) -> Page:
        contexts.append(browser.new_context(offline=True, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith("file:") else None)
        page.goto(path.as_uri())
        return page

    yield open_one
    for number, context in enumerate(contexts):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            context.pages[0].screenshot(path=folder / f"{request.node.name}-{number}.png")
        context.close()
    assert complaints == []


def rows(page: Page) -> list[str]:
    return page.locator("#found tbody tr td:first-child").all_inner_texts()


def test_the_search_finds_and_its_links_open(site, opened):
    page = opened(site / "index.html")
    expect(page.locator("#said")).to_have_text("1–50 of 130 found")  # the first layer
    assert rows(page)[:3] == ["L0N0", "L0N1", "L0N2"]
    page.get_by_role("button", name="Next →").click()
    expect(page.locator("#said")).to_have_text("51–100 of 130 found")
    page.get_by_label("Where").select_option("all")
    page.get_by_label("Search names").fill("l2n12")
    expect(page.locator("#said")).to_have_text("1–11 of 11 found")
    assert rows(page) == ["L2N12", *(f"L2N{index}" for index in range(120, 130))]
    page.get_by_role("link", name="L2N12", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("L2N12")
    page.get_by_role("link", name="L2N13 →").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("L2N13")
    page.get_by_role("link", name="Index").click()
    expect(page.locator("#found")).to_be_visible()


def test_tokens_are_found_and_columns_sort_by_keyboard(site, opened):
    page = opened(site / "index.html")
    page.get_by_label("Where").select_option("2")
    node = ne.component("tiny", "L2N77")
    page.get_by_label("Search names").fill(node.writes(1)["token"][0].strip())
    expect(page.locator("#found tbody")).to_contain_text("L2N77")
    page.get_by_label("Search names").fill("")
    expect(page.locator("#said")).to_have_text("1–50 of 130 found")
    head = page.get_by_role("button", name="max", exact=True)
    head.focus()
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort=descending]")).to_have_text("max")
    shown = [float(each) for each in page.locator("#found tbody td:nth-child(5)").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    highest = max(range(130), key=lambda index: ne.load_neuron("tiny", 2, index).max_activation or 0)
    assert rows(page)[0] == f"L2N{highest}"
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("max")


def test_without_scripts_lists_and_pages_work(site, opened):
    page = opened(site / "index.html", java_script_enabled=False)
    expect(page.locator("#controls")).to_be_hidden()
    page.get_by_role("link", name="Layer 2", exact=True).click()
    assert page.locator("tbody tr").count() == 100
    page.get_by_role("link", name="Next →").first.click()
    assert page.locator("tbody tr").count() == 30
    page.get_by_role("link", name="L2N105", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("L2N105")
    expect(page.get_by_text("What it writes", exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "L2/list-0.html", "L2/L2N105.html"])
def test_pages_fit_their_window_and_follow_the_reader_s_colours(site, opened, scheme, name):
    page = opened(site / name, color_scheme=scheme, viewport={"width": 1300, "height": 900})
    if name == "index.html":
        expect(page.locator("#said")).to_contain_text("found")
    for width in (1300, 800, 600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    grounds = page.evaluate(
        "[document.body, ...document.querySelectorAll('.ne-card')].map("
        "each => Number(getComputedStyle(each).backgroundColor.match(/\\d+/)[0]))"
    )
    assert len(grounds) > 1 or "N" not in name  # the page of a neuron has a card
    assert all(bright > 200 if scheme == "light" else bright < 60 for bright in grounds)


@pytest.mark.parametrize("start", [0, 7])
def test_hostile_texts_run_nothing(opened, tmp_path, monkeypatch, start):
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))
    tokens = (HOSTILE_TOKENS + TOKENS)[start : start + 7]
    write_packed_dataset_info(tmp_path / "d", INFO, tokens)
    for layer in INFO.layer_indices:
        write_packed_layer(tmp_path / "d", layer, layer_by_token())
    ne.component(tmp_path / "d", "L1N0").explanations.add("<img src=x onerror=window.pwned=9> " + tokens[0])
    site = ne.export_site(tmp_path / "d", tmp_path / "s", title="<script>window.pwned=1</script>", progress=False)
    for name in ["index.html", "L1/list-0.html", "L1/L1N0.html"]:
        page = opened(site.path / name)
        if name == "index.html":
            expect(page.locator("#said")).to_have_text("1–2 of 2 found")
            page.get_by_label("Search names").fill("pwned")
            expect(page.locator("#found tbody")).to_contain_text("L1N0")
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.querySelectorAll('img, iframe, svg').length") == 0
