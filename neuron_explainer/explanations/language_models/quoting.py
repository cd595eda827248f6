"""Texts from anywhere, set into a question so that they cannot be taken for a part of it."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable

MOST_CHARACTERS_OF_TOKEN = 200
OPENING, CLOSING = "<<", ">>"

# Stand for the marks until everything else is escaped; JSON has such characters as escapes alone.
_OPENS, _CLOSES = "\x02", "\x03"
# What could be taken for a mark, or for a control token of a model, such as one that ends the question.
_AMBIGUOUS = re.compile(
    r"<(?=[<\x02\x03|])|(?<=[<\x02\x03])<|>(?=[>\x02\x03])|(?<=[>\x02\x03|])>"
    r"|<(?=/?(?:s|bos|eos|pad|unk|mask|cls|sep|think|tool_[a-z]+|[a-z_]+_token|(?:extra_id_|unused_?|reserved_?)\d+)>)"
    r"|<(?=(?:start|end)_of_)|<(?=[\uff5c\u2581])|(?<=[\uff5c\u2581])>|\[(?=/?[A-Z_]{3,}\])"
)


def quoted_tokens(tokens: Iterable[str], marked: Container[int] = ()) -> str:
    r"""A text as a JSON string, some of whose tokens are marked: `<<token>>`.

    Where the text itself has what looks like a mark, or like a control token of a chat template, that is escaped, as is
    all that is invisible or steers the text around it. So the string without its marks is always JSON of the text. A
    token of more than 200 characters is cut off there.

    Args:
        tokens: the text, token by token.
        marked: the positions of the tokens that are marked.

    >>> print(quoted_tokens(["a", " cat", " <<b>>\n"], {1}))
    "a<< cat>> \u003c\u003cb\u003e\u003e\n"
    """
    parts = [
        f"{_OPENS}{_escaped(token)}{_CLOSES}" if position in marked else _escaped(token)
        for position, token in enumerate(tokens)
    ]
    whole = _AMBIGUOUS.sub(lambda found: _escape(found[0]), "".join(parts))
    return f'"{whole.replace(_OPENS, OPENING).replace(_CLOSES, CLOSING)}"'


def quoted_text(text: str) -> str:
    """A text that is not divided into tokens, such as an explanation, as a JSON string; it is not cut."""
    n = MOST_CHARACTERS_OF_TOKEN
    return quoted_tokens(text[start : start + n] for start in range(0, len(text), n))


def _escaped(token: str) -> str:
    cut = token if len(token) <= MOST_CHARACTERS_OF_TOKEN else f"{token[:MOST_CHARACTERS_OF_TOKEN]}…"
    text = json.dumps(cut, ensure_ascii=False)[1:-1]
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1] if not character.isascii() else f"\\u{ord(character):04x}"
