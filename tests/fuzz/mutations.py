"""Small changes of bytes and of JSON, drawn from a generator with a seed: the same seed, the same changes."""

import json
import random
from collections.abc import Sequence
from typing import Any

LARGEST = 2**20
"""A longer result is cut, so that copies of copies stay small."""

_TELLING_BYTES = (0, 1, 9, 10, 32, 34, 45, 48, 91, 92, 123, 127, 128, 192, 255)
_INTEGERS = tuple(sign * 2**power + change for power in (7, 15, 31, 32, 53, 63, 64, 100) for sign in (1, -1)
                  for change in (-1, 0))  # fmt: skip
NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, 5, -1, 10**6, 10**30, *_INTEGERS, 0.0, -0.0, 0.3, 1.0, 4.0, -1.5, 1e-320, 1e300,
    "", "4", "-1", " ", "a", "none", "\x00", "\u202e\u200b", "\U0001f469\u200d\U0001f467", "__proto__" * 200,
    "x" * 5000,
    [], [1], ["a"], [[]], [None] * 50, list(range(300)), {}, {"a": 1}, {"": None}, {"__proto__": {}},
)  # fmt: skip
"""What stands in the place of any value of a JSON file."""

_NASTY_TEXTS = (
    "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "1E-999", "-0", "0" * 30, "9" * 5000, "[" * 100_000,
    "[" * 2000 + "]" * 2000, "[" * 100_000 + "]" * 100_000, '{"a":' * 2000 + "1" + "}" * 2000,
    '"\\ud800"', '"\\udc00\\ud800x"',
    '"\\u0000"', '"\\' + "u0041" * 3 + '"', "tru", "", '{"a":1,"a":2}', "/**/1", '"' + "\\\\" * 1000 + '"',
)  # fmt: skip
"""What has no value in Python, or cannot be written by it: it stands in the file as it is."""

_STAND_IN = "@@the place of a nasty text@@"


def mutated_bytes(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """The content with one to four changes; `others` are files that it can get a piece of."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(changed) + 1)
        length = min(chance.choice((1, 1, 2, 4, 8, 30, 200)), len(changed) - place)
        kind = chance.randrange(8)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(changed):
            changed[place] = chance.choice(_TELLING_BYTES)
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = bytes(chance.choices(_TELLING_BYTES, k=chance.choice((1, 3, 8, 100))))
        elif kind == 5:
            changed[place:place] = changed[place : place + length] * chance.choice((1, 1, 2, 50))
        elif kind == 6:
            other = chance.choice(others or (content,))
            start = chance.randrange(len(other) + 1)
            changed[place : place + length] = other[start : start + chance.choice((4, 30, 500, len(other)))]
        else:
            number = chance.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
            changed[place : place + 8] = number.to_bytes(8, "little")[: chance.choice((4, 8))]
    return bytes(changed[:LARGEST])


def mutated_json(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A JSON file with some of its values, keys or lists changed; now and then with bytes changed as well."""
    value = json.loads(content)
    donor = json.loads(chance.choice(others or (content,)))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        value = changed_value(value, chance, donor)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    while f'"{_STAND_IN}"' in text:
        text = text.replace(f'"{_STAND_IN}"', chance.choice(_NASTY_TEXTS), 1)
    encoded = text.encode("utf-8", "surrogatepass")
    return mutated_bytes(encoded, chance, others) if chance.random() < 0.1 else encoded


def changed_value(value: Any, chance: random.Random, donor: Any = None) -> Any:
    """The value with a change somewhere within it. `donor` is another value, of which a part may come in."""
    goes_on = chance.random() < (0.95 if isinstance(value, dict) else 0.75)
    if isinstance(value, dict) and value and goes_on:
        key = chance.choice(list(value))
        return {**value, key: changed_value(value[key], chance, donor)}
    if isinstance(value, list) and value and goes_on:
        place = chance.randrange(len(value))
        return [*value[:place], changed_value(value[place], chance, donor), *value[place + 1 :]]
    return _instead_of(value, chance, donor)


def _instead_of(value: Any, chance: random.Random, donor: Any) -> Any:
    kind = chance.randrange(10)
    if kind == 0:
        return _STAND_IN
    if kind == 1 and isinstance(value, dict) and value:
        gone = chance.choice(list(value))
        return {key: each for key, each in value.items() if key != gone}
    if kind == 2 and isinstance(value, dict) and value:
        renamed = chance.choice(list(value))
        new = chance.choice(
            ("", "x" * 5000, "__proto__", renamed.upper(), renamed + "\u200b", chance.choice(list(value)))
        )
        return {new if key == renamed else key: each for key, each in value.items()}
    if kind <= 3 and isinstance(value, list):
        return chance.choice((value[:-1], value * 2, value * 100, value[::-1], [*value, None], [value], value[1:]))
    if kind == 4 and isinstance(value, int | float) and not isinstance(value, bool):
        return chance.choice((value + 1, value - 1, -value, value * 2, float(value), str(value), value * 10**9))
    if kind == 5 and isinstance(value, str):
        return chance.choice((value[:-1], value + "x", value.upper(), value * 3, value[::-1], [value], value + "\n"))
    if kind == 6:
        return _part_of(donor, chance)
    return chance.choice(NASTY)


def _part_of(value: Any, chance: random.Random) -> Any:
    while isinstance(value, dict | list) and value and chance.random() < 0.8:
        value = chance.choice(list(value.values()) if isinstance(value, dict) else value)
    return value
