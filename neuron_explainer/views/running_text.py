"""Tokens as running text: parts of one character joined, right-to-left text in its own direction.

A token may be a part of a character, which its tokenizer writes as bytes, such as `\\xf0\\x9f`. Where all parts of the
character stand together, they are shown as the character. So are tokens that a reader sees as one character: a letter
and its accent, the parts of an emoji or a flag, the consonants of a conjunct.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuron_explainer.activations.token_bytes import parts_of_characters
from neuron_explainer.views.token_text import NEWLINE, SPACE, TAB, token_as_read, token_html

_JOINER = "\u200d"
_VIRAMA = 9  # the combining class of signs that bind the next consonant, in the scripts of India and beyond
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)


@dataclass(frozen=True)
class Piece:
    """What is shown as one: a token, or the tokens `start` to `stop` - 1 that are parts of one character."""

    start: int
    stop: int
    text: str

    @property
    def positions(self) -> range:
        """The positions of its tokens."""
        return range(self.start, self.stop)

    @property
    def is_joined(self) -> bool:
        """Whether it is of several tokens."""
        return self.stop - self.start > 1


def text_pieces(tokens: Sequence[str], positions: range) -> list[Piece]:
    r"""The tokens at these positions as pieces, in order.

    >>> [piece.text for piece in text_pieces(["a", "\\xc3", "\\xa9", "b"], range(4))]
    ['a', 'é', 'b']
    """
    pieces: list[Piece] = []
    start = positions.start
    while start < positions.stop:
        piece = _joined_at(tokens, start, positions.stop) or Piece(start, start + 1, tokens[start])
        if pieces and _is_one_character(pieces[-1].text, piece.text):
            before = pieces.pop()
            piece = Piece(before.start, piece.stop, before.text + piece.text)
        pieces.append(piece)
        start = piece.stop
    return pieces


def _joined_at(tokens: Sequence[str], start: int, end: int) -> Piece | None:
    """The piece of the tokens from `start` on that are parts of one character; None if there is none."""
    parts = parts_of_characters(tokens, start, end)
    if parts is None:
        return None
    return Piece(start, start + len(parts), b"".join(parts).decode("utf-8", "surrogatepass"))


def _is_one_character(before: str, after: str) -> bool:
    """Whether a reader sees the end of one text and the beginning of the next as one character, such as an emoji."""
    last, first = before[-1:], after[:1]
    if not last or not first:
        return False
    if ord(first) in _FLAG_LETTERS and ord(last) in _FLAG_LETTERS:
        letters = len(before) - len(before.rstrip("".join(map(chr, _FLAG_LETTERS))))
        return letters % 2 == 1
    if unicodedata.category(first).startswith("M"):
        return last.isprintable() and not last.isspace()  # what it is drawn on
    is_conjunct = unicodedata.combining(last) == _VIRAMA and unicodedata.category(first) == "Lo"
    return is_conjunct or _JOINER in (last, first) or ord(first) in _SKIN_TONES


def in_reading_direction(pieces: Sequence[Piece], elements: Sequence[str]) -> str:
    """The pieces' elements in a row, those of right-to-left text together in an element of that direction.

    Each token is a `bdi`, which isolates it. In right-to-left text that would order the letters from left to right and
    keep them from joining; so there the tokens are not isolated, but their run is.
    """
    parts: list[str] = []
    start = 0
    directions = [_direction(piece.text) for piece in pieces]
    while start < len(pieces):
        stop = _end_of_right_to_left(directions, start)
        if stop > start:
            run = "".join(_not_isolated(element) for element in elements[start:stop])
            parts.append(f'<span dir="rtl" style="unicode-bidi:isolate">{run}</span>')
        else:
            parts.append(elements[start])
            stop = start + 1
        start = stop
    return "".join(parts)


def _not_isolated(element: str) -> str:
    """A token's element, its `bdi` without the isolation that browsers give it."""
    if '<bdi style="' in element:
        return element.replace('<bdi style="', '<bdi style="unicode-bidi:normal;', 1)
    return element.replace("<bdi", '<bdi style="unicode-bidi:normal"', 1)


def plain_tokens(tokens: Sequence[str]) -> str:
    """A text without values, one element for each piece."""
    pieces = text_pieces(tokens, range(len(tokens)))
    elements = [f"<bdi>{token_html(piece.text)}</bdi>" for piece in pieces]
    return in_reading_direction(pieces, with_line_breaks(pieces, elements))


def with_line_breaks(pieces: Sequence[Piece], elements: Sequence[str]) -> list[str]:
    """The pieces' elements, with a place for a line break where the text has whitespace.

    The marks that stand for whitespace would not allow one.
    """
    parts = []
    for number, (piece, element) in enumerate(zip(pieces, elements, strict=True)):
        follows_whitespace = number > 0 and pieces[number - 1].text[-1:].isspace()
        parts.append(f"<wbr>{element}" if follows_whitespace or piece.text[:1].isspace() else element)
    return parts


def _end_of_right_to_left(directions: Sequence[str], start: int) -> int:
    """Where the run of right-to-left pieces that begins at `start` ends; `start` if none does."""
    stop = start
    for position in range(start, len(directions)):
        if directions[position] == "rtl":
            stop = position + 1
        elif directions[position] == "ltr" or stop == start:
            break
    return stop


def _direction(text: str) -> str:
    """The direction of a text as it is shown: "rtl", "ltr" or "neutral"."""
    if text.isascii() and text.isalpha():
        return "ltr"
    label = token_as_read(text)
    kinds = {unicodedata.bidirectional(character) for character in _without_marks(label)}
    if "L" in kinds or NEWLINE in label:
        return "ltr"
    return "rtl" if kinds & {"R", "AL"} else "neutral"


def _without_marks(label: str) -> Iterable[str]:
    return (character for character in label if character not in (SPACE, TAB))
