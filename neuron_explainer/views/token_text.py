"""Tokens as readable text: whitespace and invisible characters become visible, and everything is escaped for HTML.

Every text from a record, a file or a user passes through `token_html`, `token_label` or `escaped` before it becomes
HTML.
"""

import html
import unicodedata
from functools import lru_cache

from neuron_explainer.wording import character_escape, without_steering

SPACE, NEWLINE, TAB, CARRIAGE_RETURN = "·", "↵", "⇥", "\\r"
_MARK_BY_CHARACTER = {" ": SPACE, "\n": NEWLINE, "\t": TAB, "\r": CARRIAGE_RETURN}
_EMPTY = "∅"
_CIRCLE_FOR_COMBINING_MARKS = "◌"
_ZERO_WIDTH_JOINER = "\u200d"
_TAGS = range(0xE0020, 0xE0080)  # they follow the black flag in the flags of England, Scotland and Wales
_BLACK_FLAG = "\U0001f3f4"
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
_LETTER_JOINERS = "\u200c\u200d"  # between letters they say whether these join, as in Persian and Hindi
_FIRST_JOINED_LETTER = 0x590  # before it are the scripts of which no letter joins another

_OF_ESCAPES = ' class="ne-e"'
_CLASSES = {SPACE: "", NEWLINE: "", TAB: "", _EMPTY: ' class="ne-o"', _CIRCLE_FOR_COMBINING_MARKS: ' class="ne-o"'}


def escaped(text: str) -> str:
    """Text escaped for HTML, for an element or a quoted attribute. Control and direction characters become escapes."""
    return html.escape(without_steering(text), quote=True)


@lru_cache(maxsize=8192)
def token_html(token: str) -> str:
    """A token as HTML: whitespace as marks and invisible characters as escapes, both in `<i>`; the rest HTML-escaped.

    A newline's mark is followed by a line break. The style of a card hides marks of whitespace in running text, and
    shortens escapes (class `ne-e`), until its reader asks for hidden characters; not what stands for no character
    (class `ne-o`).

    >>> token_html(" <b>")
    '<i>·</i>&lt;b&gt;'
    """
    parts = []
    for text, is_mark in _visible_parts(token):
        shown = f"<i{_CLASSES.get(text, _OF_ESCAPES)}>{escaped(text)}</i>" if is_mark else escaped(text)
        parts.append(shown + "<br>" if is_mark and text == NEWLINE else shown)
    return "".join(parts)


@lru_cache(maxsize=8192)
def token_label(token: str) -> str:
    """A token as one line of plain text, with the same marks and escapes as `token_html`; not escaped for HTML."""
    return "".join(text for text, _ in _visible_parts(token, is_exact=True))


def token_as_read(token: str) -> str:
    """The text of `token_html`: a `token_label` in which joiners between letters are not escaped."""
    return "".join(text for text, _ in _visible_parts(token))


def plotly_label(token: str) -> str:
    """A token as a label of plotly, which reads labels as HTML, and text between dollar signs as mathematics."""
    return escaped(token_label(token)).replace("$", "&#36;")


def _visible_parts(token: str, is_exact: bool = False) -> list[tuple[str, bool]]:
    """The token as parts (text, is_mark). Each mark or escape, which stands for another character, is its own part.

    If `is_exact`, joiners between letters are escapes, too.
    """
    if not token:
        return [(_EMPTY, True)]
    parts: list[tuple[str, bool]] = []
    if unicodedata.category(token[0]).startswith("M") and _is_shown_as_itself(token, 0):
        parts.append((_CIRCLE_FOR_COMBINING_MARKS, True))  # or it would be drawn on the previous token
    run_start = 0
    for position, character in enumerate(token):
        mark = _MARK_BY_CHARACTER.get(character)
        joins = not is_exact and character in _LETTER_JOINERS and _is_between_letters(token, position)
        if mark is None and not joins and not _is_shown_as_itself(token, position):
            mark = character_escape(character)
        if mark is not None:
            if position > run_start:
                parts.append((token[run_start:position], False))
            parts.append((mark, True))
            run_start = position + 1
    if run_start < len(token):
        parts.append((token[run_start:], False))
    return parts


def _is_shown_as_itself(token: str, position: int) -> bool:
    """Whether a character is visible and harmless: not a control, direction, format or unassigned character.

    Joiners, selectors and tags are shown as themselves if they combine characters into one emoji.
    """
    character = token[position]
    before = token[position - 1] if position else ""
    if ord(character) in _VARIATION_SELECTORS:
        return bool(before) and before.isprintable() and before != " "
    if character == _ZERO_WIDTH_JOINER:
        return _ends_emoji(before) and position + 1 < len(token) and unicodedata.category(token[position + 1]) == "So"
    if ord(character) in _TAGS:
        start = position
        while start and ord(token[start]) in _TAGS:
            start -= 1
        return token[start] == _BLACK_FLAG
    return character.isprintable()


def _is_between_letters(token: str, position: int) -> bool:
    """Whether the letters around a joiner are of scripts that have a use for it; at an end of the token, the one."""
    around = token[position - 1 : position] + token[position + 1 : position + 2]
    return bool(around) and all(
        ord(character) >= _FIRST_JOINED_LETTER and unicodedata.category(character)[0] in "LM" for character in around
    )


def _ends_emoji(character: str) -> bool:
    """Whether an emoji can end with the character: a symbol, a skin tone or a variation selector."""
    if not character:
        return False
    return unicodedata.category(character) in ("So", "Sk") or ord(character) in _VARIATION_SELECTORS
