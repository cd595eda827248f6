"""The dark counterpart of each colour, and the style by which a card follows the theme of its page.

All colours of a view are in `style` and `bgcolor` attributes, and are those of a light page. So a view reads well where
style elements are dropped. On a dark page a card's own `<style>` overrides them, each colour by its attribute, and only
those that the card has.

The dark scale of values begins at the dark paper. Lightness grows with magnitude, equally on both sides, with the hues
of the light scale.
"""

import math
import re
import zlib
from collections.abc import Iterator
from functools import cache

from neuron_explainer.views.colour import (
    CHROMA_AT_LIMIT,
    LEAST_CONTRAST,
    N_LEVELS,
    NEGATIVE_HUE,
    NOT_FINITE_BACKGROUND,
    POSITIVE_HUE,
    background_of_level,
    contrast,
    hex_of_oklab,
    text_colour,
)
from neuron_explainer.views.theme.inks import BLACK, INK, LINE, MUTED, PAGE, PAPER, WHITE

DARK_INK, DARK_MUTED, DARK_LINE, DARK_PAPER, DARK_PAGE = "#e9ebee", "#a9b1ba", "#43494f", "#1c1c1c", "#101010"

DARK_PAGES = (
    ':is(body[data-jp-theme-light="false"],body.vscode-dark,'
    "body.vscode-high-contrast:not(.vscode-high-contrast-light),html[theme=dark])"
)
"""What is dark around a card: JupyterLab, Notebook 7, Voila and nbconvert; Visual Studio Code; Colab."""

DARK_DOCUMENT = "@media(prefers-color-scheme:dark)"
"""When a document of our own is dark; elsewhere the page around a card decides, and not the reader's system."""

_LIGHTNESS = (0.226, 0.70)  # at zero, where it is the dark paper's; at the limit
_ALARM = "#ff9a94"
_TEXTS = {INK: DARK_INK, MUTED: DARK_MUTED, BLACK: DARK_INK, WHITE: DARK_INK, "#a40e26": _ALARM, "#8f1d13": _ALARM}
_LINES = {
    INK: DARK_INK,
    MUTED: DARK_MUTED,
    LINE: DARK_LINE,
    PAPER: DARK_PAPER,
    NOT_FINITE_BACKGROUND: "#575757",
    "#a40e26": _ALARM,
    "#b42318": "#e5534b",
}
_GROUNDS = {
    PAPER: DARK_PAPER,
    PAGE: DARK_PAGE,
    LINE: DARK_LINE,
    MUTED: DARK_MUTED,
    INK: DARK_INK,
    NOT_FINITE_BACKGROUND: "#575757",
    "#e4e8ec": "#2c2f33",  # where no pair of tokens is
    "#fff8ef": "#33261a",  # of hints
    "#fff1f0": "#3a1e1e",  # of errors
    "#fff4f2": "#3a1e1e",
}

_REFINED = (
    "& bdi{box-shadow:-1px 0 0 rgba(255,255,255,.13)}"
    "& table.ne-pairs td[bgcolor]{box-shadow:inset 0 0 0 1px rgba(255,255,255,.09)}"
    # Pictures have the colours of the light scale; their white becomes the dark paper.
    "& img{filter:invert(.89) hue-rotate(180deg)}"
    f"& bdi:hover,& table.ne-pairs td[bgcolor]:hover{{outline-color:{DARK_INK}}}"
)

_CARD = (
    f"color-scheme:dark;background-color:{DARK_PAPER}!important;color:{DARK_INK}!important;"
    f"border-color:{DARK_LINE}!important"
)

# What a light element declares: the property, a line's width, and the colour. No other text of an attribute is used.
_DECLARED = re.compile(
    r'(?:[";]((?:background-|border-|outline-)?color):|[";]((?:border(?:-top|-bottom|-left|-right)?|outline):)'
    r'(\dpx (?:solid|dashed|dotted) )| (bgcolor)=")(#[0-9a-f]{6})(?=[";])'
)


@cache
def dark_of_level(level: int) -> str:
    """The colour of a step of the scale on a dark page, as `#rrggbb`.

    >>> dark_of_level(0)
    '#1c1c1c'
    """
    share = abs(level) / N_LEVELS
    lightness = _LIGHTNESS[0] + share * (_LIGHTNESS[1] - _LIGHTNESS[0])
    hue = math.radians(POSITIVE_HUE if level > 0 else NEGATIVE_HUE)
    chroma = 0.9 * CHROMA_AT_LIMIT * share**0.75
    return hex_of_oklab(lightness, chroma * math.cos(hue), chroma * math.sin(hue))


@cache
def _levels() -> dict[str, str]:
    return {background_of_level(level): dark_of_level(level) for level in range(-N_LEVELS, N_LEVELS + 1) if level}


def dark_ground(colour: str) -> str | None:
    """The counterpart of a light ground; None for colours that are not the library's."""
    return _GROUNDS.get(colour) or _levels().get(colour)


def dark_line(colour: str) -> str | None:
    """The counterpart of a light line."""
    return _LINES.get(colour) or _levels().get(colour)


def dark_text(colour: str) -> str | None:
    """The counterpart of the colour of a text."""
    return _TEXTS.get(colour)


def text_on(ground: str) -> str:
    """The colour of text on a dark ground: the card's ink where it has enough contrast, else black or white."""
    return DARK_INK if contrast(DARK_INK, ground) >= LEAST_CONTRAST else text_colour(ground)


def dark_rules(html: str) -> str:
    """CSS rules that give each colour in some HTML its dark counterpart.

    Args:
        html: the HTML, whose colours are in attributes.

    >>> dark_rules('<i style="color:#59636e">a</i>')
    '[style^="color:#59636e"],[style*=";color:#59636e"]{color:#a9b1ba!important}'
    """
    rules = sorted(set(_rules_of(set(_DECLARED.findall(html)))))
    return "".join(rule for _, rule in rules)


def on_dark_pages(html: str) -> tuple[str, str]:
    """A class for the element around some HTML, and the CSS by which that element follows its page's theme.

    The class is that of the rules: a browser tries them on the elements of this class alone. Without it, a notebook of
    many cards would be slow.
    """
    rules = dark_rules(html)
    name = f"ne-{zlib.crc32(rules.encode()):x}"
    return name, f"{DARK_PAGES}{{.ne-card{{{_CARD};{_REFINED}}}.{name}{{{rules}}}}}"


def for_documents(html: str) -> str:
    """The CSS by which the cards in some HTML follow the reader's system, in a document of our own."""
    blocks = (after.split("</style>", 1)[0].removesuffix("}") for after in html.split(f"{DARK_PAGES}{{")[1:])
    return f"{DARK_DOCUMENT}{{body{{background-color:{DARK_PAGE}!important}}{''.join(dict.fromkeys(blocks))}}}"


def _rules_of(found: set[tuple[str, ...]]) -> Iterator[tuple[int, str]]:
    """Rules, each with its rank: those of grounds come last, since they set the colour of the text on them, too."""
    for name, line, width, attribute, colour in found:
        if attribute:
            yield from _ground_rules(f'[bgcolor="{colour}"]', colour)
        elif name == "background-color":
            yield from _ground_rules(f'[style*="background-color:{colour}"]', colour)
        elif name == "color":
            if dark := dark_text(colour):
                yield 0, _rule(f'[style^="color:{colour}"],[style*=";color:{colour}"]', f"color:{dark}")
        elif dark := dark_line(colour):
            changed = name or f"{line[:-1]}-color"
            yield 0, _rule(f'[style*="{f"{name}:" if name else line + width}{colour}"]', f"{changed}:{dark}")


def _ground_rules(selector: str, colour: str) -> Iterator[tuple[int, str]]:
    if dark := dark_ground(colour):
        yield 0, _rule(selector, f"background-color:{dark}")
        if (text := text_on(dark)) != DARK_INK:
            yield 1, _rule(selector, f"color:{text}")


def _rule(selector: str, declaration: str) -> str:
    return f"{selector}{{{declaration}!important}}"
