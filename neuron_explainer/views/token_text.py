"""Tokens as people can read them: whitespace is seen, nothing invisible hides, and everything is escaped.

Every text that comes from a record, a file or a user passes through `token_html`, `token_label` or `escaped` on its way
into HTML.
"""

import html
import re
import unicodedata
from functools import lru_cache

SPACE, NEWLINE, TAB, CARRIAGE_RETURN = "·", "↵", "⇥", "\\r"
_MARK_BY_CHARACTER = {" ": SPACE, "\n": NEWLINE, "\t": TAB, "\r": CARRIAGE_RETURN}
_EMPTY = "∅"
_CIRCLE_FOR_COMBINING_MARKS = "◌"
_ZERO_WIDTH_JOINER = "\u200d"
_TAGS = range(0xE0020, 0xE0080)  # what follows the black flag in the flags of England, Scotland and Wales
_BLACK_FLAG = "\U0001f3f4"
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


# What would steer the text around it, or is none: controls but tab and newline, directions, halves of surrogate pairs.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """`text` for HTML, good in an element and in a quoted attribute; characters that steer it are written out."""
    return html.escape(_STEERING.sub(lambda found: _escape(found[0]), text), quote=True)


def counted(number: int, noun: str) -> str:
    """ "1 token", "2,048 tokens"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


@lru_cache(maxsize=8192)
def token_html(token: str) -> str:
    """A token as HTML: marks for whitespace and escapes for invisible characters, both in `<i>`; the rest escaped.

    A newline also breaks the line, after its mark.
    """
    parts = []
    for text, is_mark in _visible_parts(token):
        shown = f"<i>{escaped(text)}</i>" if is_mark else escaped(text)
        parts.append(shown + "<br>" if is_mark and text == NEWLINE else shown)
    return "".join(parts)


@lru_cache(maxsize=8192)
def token_label(token: str) -> str:
    """A token on one line of plain text, the same marks and escapes in it; not escaped for HTML."""
    return "".join(text for text, _ in _visible_parts(token))


def _visible_parts(token: str) -> list[tuple[str, bool]]:
    """The token as runs of (text, whether it is a mark that stands for something else); each mark is one part."""
    if not token:
        return [(_EMPTY, True)]
    parts: list[tuple[str, bool]] = []
    if unicodedata.category(token[0]).startswith("M") and _is_shown_as_itself(token, 0):
        parts.append((_CIRCLE_FOR_COMBINING_MARKS, True))  # else it would sit on the token before
    run_start = 0
    for place, character in enumerate(token):
        mark = _MARK_BY_CHARACTER.get(character)
        if mark is None and not _is_shown_as_itself(token, place):
            mark = _escape(character)
        if mark is not None:
            if place > run_start:
                parts.append((token[run_start:place], False))
            parts.append((mark, True))
            run_start = place + 1
    if run_start < len(token):
        parts.append((token[run_start:], False))
    return parts


def _escape(character: str) -> str:
    r"""As Python writes it: \x1b, \u202e, \U000e0001."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_shown_as_itself(token: str, place: int) -> bool:
    """Whether a character can be seen and steers nothing: no control, direction, format or unassigned character.

    Joiners, selectors and tags are shown as themselves where they make one emoji of several characters.
    """
    character = token[place]
    before = token[place - 1] if place else ""
    if ord(character) in _VARIATION_SELECTORS:
        return bool(before) and before.isprintable() and before != " "
    if character == _ZERO_WIDTH_JOINER:
        return _ends_emoji(before) and place + 1 < len(token) and unicodedata.category(token[place + 1]) == "So"
    if ord(character) in _TAGS:
        start = place
        while start and ord(token[start]) in _TAGS:
            start -= 1
        return token[start] == _BLACK_FLAG
    return character.isprintable()


def _ends_emoji(character: str) -> bool:
    """Whether an emoji can end in the character: a symbol, a skin tone or a variation selector."""
    if not character:
        return False
    return unicodedata.category(character) in ("So", "Sk") or ord(character) in _VARIATION_SELECTORS
