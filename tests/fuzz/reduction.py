"""Makes an input that shows a fault as small and plain as it gets while it still shows it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

Shows = Callable[[bytes], bool]
SMALL = 500
"""An input, or a difference, of no more bytes is shown as it is."""


def reduced(content: bytes, shows: Shows, *, valid: bytes = b"", seconds: float = 60.0) -> bytes:
    """The smallest input found in this time that shows the same fault.

    What can be as in a valid file becomes so. JSON is reduced by its values. Then pieces of bytes are left out, from
    halves down to single bytes (Zeller and Hildebrandt, 2002), and what cannot be left out is set to zeros.

    Args:
        content: an input that shows the fault.
        shows: whether another input shows it.
        valid: the file that it was made from.
        seconds: how long to try.
    """
    end = time.monotonic() + seconds

    def still_shows(candidate: bytes) -> bool:
        return time.monotonic() < end and shows(candidate)

    smallest = _nearest_to(valid, content, still_shows)
    if len(difference(valid, smallest)[2]) <= SMALL < len(smallest):
        return smallest  # offsets hold it together, so that nothing can be left out
    smallest = _reduced_json(smallest, still_shows)
    smallest = _without_pieces(smallest, still_shows)
    return _with_zeros(smallest, still_shows)


def difference(valid: bytes, content: bytes) -> tuple[int, bytes, bytes]:
    """Where two contents differ: the first byte, and what stands from there to the last one in each."""
    shorter = min(len(valid), len(content))
    start = next((place for place in range(shorter) if valid[place] != content[place]), shorter)
    rest = shorter - start
    end = next((place for place in range(rest) if valid[-1 - place] != content[-1 - place]), rest)
    return start, valid[start : len(valid) - end], content[start : len(content) - end]


def _nearest_to(valid: bytes, content: bytes, shows: Shows) -> bytes:
    """The content with as few bytes as possible that differ from those of a valid file of the same length."""
    if len(valid) != len(content):
        return content
    size = len(content) // 2
    while size:
        for place in range(0, len(content), size):
            piece = slice(place, place + size)
            candidate = content[:place] + valid[piece] + content[place + size :]
            if content[piece] != valid[piece] and shows(candidate):
                content = candidate
        size //= 2
    return content


def _without_pieces(content: bytes, shows: Shows) -> bytes:
    size = max(1, len(content) // 2)
    while True:
        place = 0
        while place < len(content):
            candidate = content[:place] + content[place + size :]
            if shows(candidate):
                content = candidate
            else:
                place += size
        if size == 1:
            return content
        size //= 2


def _with_zeros(content: bytes, shows: Shows) -> bytes:
    size = max(1, len(content) // 2)
    while size >= 4:
        for place in range(0, len(content), size):
            zeros = bytes(len(content[place : place + size]))
            candidate = content[:place] + zeros + content[place + size :]
            if content[place : place + size] != zeros and shows(candidate):
                content = candidate
        size //= 2
    return content


def _reduced_json(content: bytes, shows: Shows) -> bytes:
    try:
        value = json.loads(content)
        written = _written(value)
    except (ValueError, RecursionError):
        return content
    if not shows(written):  # what matters is in how it is written
        return content
    changed = True
    while changed:
        changed = False
        for simpler in _simpler(value):
            candidate = _written(simpler)
            if len(candidate) < len(written) and shows(candidate):
                value, written, changed = simpler, candidate, True
                break
    return written


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _simpler(value: Any) -> Iterator[Any]:
    """Values that are simpler: without a part of it, or with a simpler part."""
    if isinstance(value, dict):
        for key in value:
            yield {other: each for other, each in value.items() if other != key}
        for key, each in value.items():
            for simpler in _simpler(each):
                yield {**value, key: simpler}
    elif isinstance(value, list):
        size = len(value) // 2
        while size:
            for place in range(0, len(value), size):
                yield value[:place] + value[place + size :]
            size //= 2
        for place, each in enumerate(value):
            for simpler in _simpler(each):
                yield [*value[:place], simpler, *value[place + 1 :]]
        if len(value) == 1:
            yield []
    elif isinstance(value, str) and value:
        yield from ("", value[: len(value) // 2], value[len(value) // 2 :])
    elif value is not None:
        yield None
        yield 0
