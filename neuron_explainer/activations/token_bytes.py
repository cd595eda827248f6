r"""Tokens that are parts of characters, and the bytes that they stand for.

A token may be a part of a character, which its tokenizer writes as bytes, such as `\xf0\x9f`. Where all parts of the
character stand together, they are the character. Where they do not, the text stays as it is: it may be a text about
bytes.
"""

import re
from collections.abc import Sequence

_BYTE = r"\\x[89a-f][0-9a-f]"
_BYTES_AT_START, _BYTES_AT_END = re.compile(f"(?:{_BYTE})+"), re.compile(f"(?:{_BYTE})+\\Z")
_MOST_PARTS = 16


def parts_of_characters(tokens: Sequence[str], start: int, end: int) -> list[bytes] | None:
    r"""The bytes of the tokens from `start` on with parts of the same characters; None if the first has no such part.

    The bytes together are UTF-8, except that halves of surrogate pairs are kept.

    Args:
        tokens: the tokens' texts.
        start: the first of the tokens.
        end: where to stop.

    >>> parts_of_characters(["a\\xc3", "\\xa9", "b"], 0, 3)
    [b'a\xc3', b'\xa9']
    """
    text, pending = _without_last_bytes(tokens[start])
    made = [text.encode("utf-8", "surrogatepass") + pending]
    joined = None
    for position in range(start + 1, min(end, start + _MOST_PARTS)):
        head = _BYTES_AT_START.match(tokens[position]) if pending else None
        if head is None:
            break
        first, after = _bytes_of(head[0]), tokens[position][head.end() :]
        pending += first
        try:
            pending.decode()
        except UnicodeDecodeError as error:
            if after or error.reason != "unexpected end of data":
                break
            made.append(first)
            continue
        joined = [*made, first + after.encode("utf-8", "surrogatepass")]
        after, pending = _without_last_bytes(after)  # where another character may begin
        made.append(first + after.encode("utf-8", "surrogatepass") + pending)
    return joined


def bytes_of_tokens(tokens: Sequence[str]) -> list[bytes]:
    r"""The bytes of each token of a text; of parts of characters, those that they stand for.

    >>> bytes_of_tokens(["a", "\\xc3", "\\xa9", "\\xc3"])
    [b'a', b'\xc3', b'\xa9', b'\\xc3']
    """
    made: list[bytes] = []
    while len(made) < len(tokens):
        parts = parts_of_characters(tokens, len(made), len(tokens))
        made += parts or [tokens[len(made)].encode("utf-8", "surrogatepass")]
    return made


def may_be_part(token: str) -> bool:
    r"""Whether a token ends or begins with what may be a part of a character.

    >>> may_be_part("a\\xc3"), may_be_part("a")
    (True, False)
    """
    return "\\x" in token and bool(_BYTES_AT_START.match(token) or _BYTES_AT_END.search(token))


def _without_last_bytes(text: str) -> tuple[str, bytes]:
    """A text, and the bytes that it ends with."""
    tail = _BYTES_AT_END.search(text) if "\\x" in text else None
    return (text, b"") if tail is None else (text[: tail.start()], _bytes_of(tail[0]))


def _bytes_of(escapes: str) -> bytes:
    return bytes.fromhex(escapes.replace("\\x", ""))
