"""JSON as other people's files hold it: typed, and with the NaN that JSON does not have."""

import json
import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

_STRING_OR_CONSTANT = re.compile(rb'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', re.DOTALL)


def decode_tolerantly(content: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What a JSON file holds, as the decoder's type; a literal NaN or Infinity is a float.

    Raises:
        ValueError: it holds no such thing; the message says briefly what is wrong. Never another exception, whatever
            the bytes are.
    """
    try:
        return _decode(content, decoder)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise ValueError(_what_is_wrong(content, error)) from None


def _decode(content: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Some files hold a NaN all the same. Only then is the slower parser, which takes it, needed.
        if not any(match.group()[:1] != b'"' for match in _STRING_OR_CONSTANT.finditer(content)):
            raise
        return msgspec.convert(json.loads(content), decoder.type)


def _what_is_wrong(content: bytes, error: Exception) -> str:
    start = content[:200].lstrip()
    if not start:
        return "it is empty"
    if start.startswith(b"<"):
        return f"it is HTML or XML, not JSON; it begins {start[:60].decode(errors='replace')!r}"
    problem = str(error)
    return problem if len(problem) <= 300 else problem[:300] + " …"
