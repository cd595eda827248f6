"""Changes of safetensors and GGUF files that know where the numbers are that readers trust."""

import json
import random
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from fuzz.mutations import changed_value, mutated_bytes, mutated_json

_WHOLE_NUMBERS = (0, 1, 2, 3, 7, 8, 31, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_DTYPES = ("F16", "BF16", "F32", "F64", "I8", "U8", "I16", "I32", "I64", "U64", "BOOL", "F8_E4M3", "F4", "C64", "")
_NUMBERS = (
    b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f", b"\1\0\0\0", b"\0\x7c\0\x7e", b"\0" * 8,
    b"\xff" * 8, b"\0\0\0\0\0\0\xf0\x7f", b"\0\0\0\0\0\0\xf8\x7f", b"\0\0\0\x80",
)  # fmt: skip
"""Infinities, NaN, the largest, the smallest: as float16, float32, float64 or whole numbers."""


def mutated_safetensors(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A safetensors file with a changed header, header length or tensor."""
    kind = chance.randrange(10)
    if kind == 0:
        return mutated_bytes(content, chance, others)
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    if kind == 1:
        claimed = chance.choice((*_WHOLE_NUMBERS, length - 1, length + 1, len(content)))
        return claimed.to_bytes(8, "little") + header + data
    if kind == 2:
        return length.to_bytes(8, "little") + mutated_bytes(header, chance, others)[:length] + data
    if kind in (3, 4):
        return content[: 8 + length] + with_telling_numbers(data, chance)
    entries = json.loads(header)
    for _ in range(chance.choice((1, 1, 2, 3))):
        entries = _changed_entries(entries, chance) if entries else entries
    if chance.random() < 0.2:
        data = chance.choice((data[:-1], data + b"\0", data[: len(data) // 2], b"", data * 2))
    return packed(json.dumps(entries).encode(), data)


def packed(header: bytes, data: bytes) -> bytes:
    """A safetensors file."""
    return len(header).to_bytes(8, "little") + header + data


def with_telling_numbers(data: bytes, chance: random.Random) -> bytes:
    """The bytes of numbers, some of them replaced by infinities, NaN and the like."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 3))):
        place = chance.randrange(max(1, len(changed) // 8)) * 8
        number = chance.choice(_NUMBERS)
        changed[place : place + len(number)] = number
    return bytes(changed[: len(data)])


def _changed_entries(entries: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    name = chance.choice(list(entries))
    if "__metadata__" in entries and chance.random() < 0.2:
        name = "__metadata__"
    entry, other = entries[name], entries[chance.choice(list(entries))]
    kind = chance.randrange(9)
    if kind < 7 and name == "__metadata__" and isinstance(entry, dict) and entry:
        return {**entries, name: _changed_metadata(entry, chance)}
    if kind == 0 or not _is_tensor(entry):
        return {**entries, name: changed_value(entry, chance, other)}
    shape, offsets = list(entry["shape"]), list(entry["data_offsets"])
    if kind == 1:
        return {key: value for key, value in entries.items() if key != name}
    if kind == 2:
        new = chance.choice(("", name + "x", "x" * 3000, "\u202e" + name, "__metadata__"))
        return {new if key == name else key: value for key, value in entries.items()}
    if kind == 3:
        return {**entries, name: {**entry, "dtype": chance.choice(_DTYPES)}}
    if kind == 4:
        return {**entries, name: other}
    if kind == 5 and offsets:
        place = chance.randrange(len(offsets))
        offsets[place] = chance.choice(
            (*_WHOLE_NUMBERS, -1, offsets[place] + 1, offsets[place] - 4, offsets[place] + 4)
        )
        return {**entries, name: {**entry, "data_offsets": offsets}}
    if kind == 6 and shape:
        place = chance.randrange(len(shape))
        shape[place] = chance.choice((*_WHOLE_NUMBERS, -1, shape[place] + 1, shape[place] * 2))
        return {**entries, name: {**entry, "shape": shape}}
    shapes: Sequence[list[int]] = (
        shape[::-1],
        [*shape, 1],
        [1] * 20 + shape,
        [],
        shape[:1],
        [0, *shape],
        [2**32, 2**32],
        [*shape, 0, 2**62],
    )
    return {**entries, name: {**entry, "shape": chance.choice(shapes)}}


def _is_tensor(entry: Any) -> bool:
    """Whether an entry is still as in a valid file: earlier changes may have put anything there."""
    lists = [entry.get(key) for key in ("shape", "data_offsets")] if isinstance(entry, dict) else [None]
    return all(isinstance(each, list) and all(type(number) is int for number in each) for each in lists)


def _changed_metadata(metadata: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Metadata in which a text is changed that may be JSON itself."""
    key = chance.choice(list(metadata))
    text = str(metadata[key]).encode("utf-8", "replace")
    try:
        changed = mutated_json(text, chance)
    except (ValueError, RecursionError):  # no JSON, or what an earlier change made of it
        changed = mutated_bytes(text, chance)
    return {**metadata, key: changed.decode("utf-8", "replace")}


def mutated_gguf(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A GGUF file with a changed count, length, type, offset, text or tensor."""
    if chance.random() < 0.1:
        return mutated_bytes(content, chance, others)
    fields = _fields_of_gguf(content)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if chance.random() < 0.15:
            end = fields[-1][0]
            return bytes(changed[:end]) + with_telling_numbers(bytes(changed[end:]), chance)
        # Most fields are those of the vocabulary; the others are chosen as often.
        place, size = chance.choice(fields if chance.random() < 0.3 else fields[:90] + fields[-90:])
        before = int.from_bytes(content[place : place + size], "little")
        number = chance.choice(
            (*_WHOLE_NUMBERS, *range(4, 41), before + 1, before - 1, before * 2, chance.getrandbits(64))
        )
        changed[place : place + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(changed)


_SIZE_BY_TYPE = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


@lru_cache(maxsize=8)
def _fields_of_gguf(content: bytes) -> list[tuple[int, int]]:
    """The position and the size of each number in the header of a valid GGUF file; its end at last."""
    return list(_each_field_of_gguf(content))


def _each_field_of_gguf(content: bytes) -> Iterator[tuple[int, int]]:
    place = 24

    def number(size: int) -> int:
        nonlocal place
        place += size
        return int.from_bytes(content[place - size : place], "little")

    def fields_of_value(kind: int) -> Iterator[tuple[int, int]]:
        nonlocal place
        if kind == 8:
            yield place, 8
            length = number(8)
            if length:
                yield place, 1
            place += length
        elif kind == 9:
            yield from ((place, 4), (place + 4, 8))
            item, length = number(4), number(8)
            for _ in range(length):
                yield from fields_of_value(item)
        else:
            yield place, _SIZE_BY_TYPE[kind]
            place += _SIZE_BY_TYPE[kind]

    yield from ((4, 4), (8, 8), (16, 8))
    n_tensors, n_entries = struct.unpack("<QQ", content[8:24])
    for _ in range(n_entries):
        yield from fields_of_value(8)
        yield place, 4
        yield from fields_of_value(number(4))
    for _ in range(n_tensors):
        yield from fields_of_value(8)
        yield place, 4
        for _ in range(number(4)):
            yield place, 8
            place += 8
        yield from ((place, 4), (place + 4, 8))
        place += 12
    yield place, 0
