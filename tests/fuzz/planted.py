"""Targets with planted faults, by which the fuzzing itself is tested."""

import ctypes
import os
import time
import warnings
from pathlib import Path

from fuzz.mutations import mutated_bytes, mutated_json
from fuzz.target import Scene, Target
from neuron_explainer.errors import MalformedRecordError

_FILE = "file.bin"
_CONTENT = b'{"first": [1, 2, 3], "second": {"text": "abc", "number": 4}}'


def _scenes(folder: Path) -> list[Scene]:
    return [Scene({_FILE: _CONTENT}, _FILE, mutate) for mutate in (mutated_bytes, mutated_json)]


def _planted(name: str, content: bytes) -> None:
    """A fault of this kind, wherever a file has two quotation marks in a row."""
    if content.startswith(b"["):
        raise MalformedRecordError("it is a list")
    if b'""' not in content:
        return
    if name == "exception":
        raise KeyError("first")
    if name == "panic":
        raise BaseException("a panic")
    if name == "crash":
        os.abort()
    if name == "read_of_address_0":
        ctypes.string_at(0)
    if name == "endless":
        time.sleep(3600)
    if name == "slow":
        begun = time.process_time()
        while time.process_time() < begun + 0.7:
            pass
    if name == "memory":
        bytearray(80 * 2**20)
    if name == "warning":
        warnings.warn("unexpected", RuntimeWarning, stacklevel=1)
    if name == "insane":
        raise AssertionError("nothing is right")


def _target_with(name: str) -> Target:
    return Target(
        f"planted_{name}",
        _scenes,
        lambda folder: _planted(name, (folder / _FILE).read_bytes()),
        most_seconds=0.5,
        most_bytes=64 * 2**20,
    )


_KINDS = (
    "nothing", "exception", "panic", "crash", "read_of_address_0", "endless", "slow", "memory", "warning", "insane",
)  # fmt: skip
PLANTED = {f"planted_{name}": _target_with(name) for name in _KINDS}
