"""Decodes JSON with a type check, and accepts the NaN and Infinity that some files contain though JSON has none."""

import json
import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

# A string that never ends matches up to the end of the file, and nothing is tried twice (`++`, `*+`): so the search
# takes linear time, whatever the bytes are.
_STRING_OR_CONSTANT = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|-?Infinity|NaN', re.DOTALL)


def decode_tolerantly(content: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON into the decoder's type, in linear time. A literal NaN or Infinity is a float.

    If an object has a key twice, the last value counts, as in Python's json.

    Raises:
        ValueError: the content is not valid JSON of this type; the message says briefly what is wrong. No other
            exception is raised, whatever the bytes are.

    >>> decode_tolerantly(b"[1, NaN]", msgspec.json.Decoder(list[float]))
    [1.0, nan]
    """
    try:
        return _decode(content, decoder)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise ValueError(_problem(content, error)) from None


def _decode(content: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Only a file with a NaN or Infinity needs the slower parser, which accepts them.
        if not any(match.group()[:1] != b'"' for match in _STRING_OR_CONSTANT.finditer(content)):
            raise
        # Python's parser also takes what JSON forbids, such as half of a surrogate pair, so the rest is checked first.
        msgspec.json.decode(_STRING_OR_CONSTANT.sub(_without_constant, content))
        return msgspec.convert(json.loads(content), decoder.type)


def keys_of(content: bytes) -> list[str]:
    """The keys of a JSON object that `decode_tolerantly` has read, in order."""
    try:
        return list(msgspec.json.decode(content, type=dict[str, msgspec.Raw]))
    except msgspec.DecodeError:  # it has a NaN or Infinity
        return list(
            msgspec.json.decode(_STRING_OR_CONSTANT.sub(_without_constant, content), type=dict[str, msgspec.Raw])
        )


def _without_constant(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


def _problem(content: bytes, error: Exception) -> str:
    start = content[:200].lstrip()
    if not start:
        return "it is empty"
    if start.startswith(b"<"):
        return f"it is HTML or XML, not JSON; it begins with {start[:60].decode(errors='replace')!r}"
    problem = str(error)
    return problem if len(problem) <= 300 else problem[:300] + " …"
