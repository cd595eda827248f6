"""What a page in a browser is measured by: the contrast of its texts, and what its keyboard focus looks like."""

from typing import Any

from playwright.sync_api import Page

_MARKS_OF_WHITESPACE = ("·", "↵", "⇥")
"""They are fainter than text, as they stand for no text."""

_CONTRASTS = """([selector, withFields]) => {
    const luminance = c => {
        const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], ground) => [r, g, b].map((value, i) => value * a + ground[i] * (1 - a));
    const contrast = (element, colour, isSolid) => {
        const grounds = [];
        let opacity = 1, ground = [255, 255, 255];
        for (let e = element; e; e = e.parentElement) {
            const style = getComputedStyle(e);
            opacity *= Number(style.opacity);
            const own = parts(style.backgroundColor);
            if (own[3] !== 0) grounds.push(own);
            if (own.length === 3) break;
        }
        for (const each of grounds.reverse()) ground = over(each, ground);
        const [r, g, b, a = 1] = parts(colour);
        const ink = over([r, g, b, a * opacity], ground);
        const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
        return (light + 0.05) / (dark + 0.05);
    };
    const found = [];
    for (const place of document.querySelectorAll(selector)) {
        const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
            if (!text || !element.checkVisibility()) continue;
            if (element.closest('style,option,datalist,button:disabled')) continue;
            found.push([contrast(element, getComputedStyle(element).color), text.slice(0, 30)]);
        }
        for (const field of !withFields ? [] : place.querySelectorAll('input:not([type=checkbox]),select,textarea')) {
            if (!field.checkVisibility() || field.disabled) continue;
            found.push([contrast(field, getComputedStyle(field).color), field.value]);
            const isEmpty = field.placeholder?.trim() && !field.value;
            if (isEmpty) {
                const style = getComputedStyle(field, '::placeholder');
                const [r, g, b, a = 1] = parts(style.color);
                found.push([contrast(field, `rgb(${r} ${g} ${b} ${a * style.opacity})`), field.placeholder]);
            }
        }
    }
    return found;
}"""

_FOCUSED = """() => {
    const element = document.activeElement, style = getComputedStyle(element);
    element.dataset.reached = 'true';
    const around = element.closest('.ne-rows') && getComputedStyle(element.closest('.ne-rows')).boxShadow !== 'none';
    return {
        name: `${element.tagName} ${element.className} ${(element.ariaLabel ?? element.textContent).slice(0, 30)}`,
        isInside: element.closest('.ne-attribution-viewer') !== null,
        isSeen: around || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1),
    };
}"""


def faint_texts(page: Page, selector: str, *, with_fields: bool = False) -> list[tuple[float, str]]:
    """The texts below a contrast of 4.5:1, in elements and in fields, with their contrast.

    Args:
        page: the page.
        selector: the elements whose texts are read.
        with_fields: also of what is in fields, or stands there while they are empty.
    """
    found = page.evaluate(_CONTRASTS, [selector, with_fields])
    assert len(found) > 200
    return [(ratio, text) for ratio, text in found if ratio < 4.5 and text not in _MARKS_OF_WHITESPACE]


def focused(page: Page) -> dict[str, Any]:
    """The element with the focus: its `name`, whether it is inside of an answer's page, and whether one sees it.

    The element has the attribute `data-reached` from now on.
    """
    state: dict[str, Any] = page.evaluate(_FOCUSED)
    return state
