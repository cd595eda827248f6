"""Pages of every kind in both themes, without a kernel: saved documents, and notebooks that drop style elements."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from helpers.all_pages import all_pages
from helpers.readable_pages import faint_texts
from neuron_explainer.views import token_heatmap
from neuron_explainer.views.document import html_document

# What each element within a card is painted with; nothing for what is not painted.
_PAINTED = """() => [...document.querySelectorAll('.ne-card, .ne-card *, .ne-error')].map(e => {
    const style = getComputedStyle(e), seen = colour => !/, 0\\)$/.test(colour);
    const line = side => parseFloat(style[`border${side}Width`]) > 0 && seen(style[`border${side}Color`]) ?
        style[`border${side}Color`] : '';
    return {
        name: `${e.tagName} ${e.className} ${e.getAttribute('style') ?? e.getAttribute('bgcolor')}`,
        ground: seen(style.backgroundColor) ? style.backgroundColor : '',
        lines: e.tagName === 'IMG' ? [] : ['Top', 'Bottom', 'Left', 'Right'].map(line),
        text: [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) ? style.color : '',
    };
})"""
_SMALL_PAGES = ["a heatmap", "a ranking", "a change", "an error", "a question that cannot be asked", "an example"]
_FRONT_ENDS = [
    ("<body", '<body data-jp-theme-light="false"'),  # JupyterLab, Notebook 7, nbconvert
    ("<body", '<body class="vscode-dark"'),
    ("<body", '<body class="vscode-high-contrast"'),
    ("<html", '<html theme="dark"'),  # Colab
]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def document() -> str:
    return html_document("".join(all_pages().values()), "All pages")


def _open(page: Page, html: str, scheme: str = "light") -> list[dict[str, Any]]:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_content(html)
    painted: list[dict[str, Any]] = page.evaluate(_PAINTED)
    return painted


def test_every_colour_of_a_saved_page_has_a_dark_counterpart(page: Page, document: str) -> None:
    light = _open(page, document)
    assert faint_texts(page, "body") == []
    dark = _open(page, document, "dark")
    assert faint_texts(page, "body") == []
    assert len(light) == len(dark) > 5000
    for part in ("ground", "lines", "text"):
        same = {one["name"] for one, other in zip(light, dark, strict=True) if _is_same(one[part], other[part])}
        assert {name for name in same if not _is_same_in_both(part, name)} == set()
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(16, 16, 16)"


def _is_same(light: str | list[str], dark: str | list[str]) -> bool:
    """Whether a colour, or one of several, did not change."""
    if isinstance(light, str):
        return light != "" and light == dark
    return any(one != "" and one == other for one, other in zip(light, dark, strict=True))


def _is_same_in_both(part: str, name: str) -> bool:
    """Text on the deepest colours is black in both themes, and the line around a token is a grey that suits both."""
    has_own_text = not name.endswith("null") and "background-color" not in name
    return (part == "text" and not has_own_text) or (part == "lines" and "rgba(128,128,128,.45)" in name)


@pytest.mark.parametrize(("tag", "dark_tag"), _FRONT_ENDS)
def test_a_front_end_says_that_it_is_dark(page: Page, tag: str, dark_tag: str) -> None:
    pages = "".join(all_pages()[name] for name in _SMALL_PAGES)
    light, dark = (_open(page, html_document(pages, "Some"), scheme) for scheme in ("light", "dark"))
    assert light != dark
    html = f'<!DOCTYPE html><html><body style="margin:0">{pages}</body></html>'
    assert _open(page, html.replace(tag, dark_tag, 1), "light") == dark
    assert _open(page, html, "dark") == light  # the system's scheme is not the page's


def test_without_style_elements_a_card_stays_light(page: Page, document: str) -> None:
    with_style = {each["name"]: each["ground"] for each in _open(page, document)}
    bare = re.sub(r"<style.*?</style>", "", document).replace("<body", '<body data-jp-theme-light="false"', 1)
    assert {each["name"]: each["ground"] for each in _open(page, bare, "dark")} == with_style
    # Of pages in a card: what has no card takes the page's own colour.
    assert faint_texts(page, ".ne-card") == []


def test_hidden_characters_on_demand(page: Page) -> None:
    html = html_document(token_heatmap(["a b ", "\u202e\u2066x", "\n", "y"], [0.0, 1.0, 2.0, 0.5]), "A text")
    _open(page, html)
    space, escape = page.locator(".ne-text i:not([class])").first, page.locator(".ne-text i.ne-e").first
    ground = "rgba(0, 0, 0, 0)"
    assert space.evaluate("e => getComputedStyle(e).color") == ground
    narrow = escape.bounding_box()
    page.locator(".ne-hidden summary").focus()
    page.keyboard.press("Enter")
    assert space.evaluate("e => getComputedStyle(e).color") != ground
    wide = escape.bounding_box()
    assert narrow is not None
    assert wide is not None
    assert 0 < narrow["width"] < 15 < wide["width"]
    _open(page, re.sub(r"<style.*?</style>", "", html))  # where style elements are dropped, all is shown
    assert page.locator(".ne-text i").first.evaluate("e => getComputedStyle(e).color") != ground
