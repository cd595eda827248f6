"""JSON from anybody: what is decoded, what is refused, and that the time grows with the size alone."""

import json
import math
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.property_tests import property_settings
from neuron_explainer.storage.tolerant_json import decode_tolerantly

ANYTHING = msgspec.json.Decoder(Any)

LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@property_settings(200)
@given(DOCUMENTS)
def test_as_pythons_json_reads_it(document):
    content = json.dumps(document).encode()
    assert json.dumps(decode_tolerantly(content, ANYTHING)) == json.dumps(json.loads(content))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": NaN, "b": "\\ud800 and more"}', "surrogate"),
        (b'{"a": NaN, "b": "\xff"}', "utf-8"),
        (b'{"a": NaN, "b": 1e999}', "out of range"),
        (b'{"a": NaN, "b": ' + b"1" * 5000 + b"}", "out of range"),
        (b'{"a": NaN, "b": ' + b"[" * 100_000, "nested too deeply"),
        (b"NaNNaN", "trailing"),
        (b'{"a": "NaN}', "truncated"),
    ],
)
def test_beside_a_nan_everything_is_checked_as_elsewhere(content, problem):
    with pytest.raises(ValueError, match=f"(?i){problem}"):
        decode_tolerantly(content, ANYTHING)


def test_of_a_key_that_is_given_twice_the_last_value_counts():
    assert decode_tolerantly(b'{"a": 1, "a": 2}', ANYTHING) == {"a": 2}
    found: Any = decode_tolerantly(b'{"a": 1, "a": NaN}', ANYTHING)
    assert math.isnan(found["a"])


@pytest.mark.parametrize("repeated", [b'\\"', b'"', b'["', b"\\", b"-Infinit", b"NaN", b"[", b'{"a":', b"1", b'"\\'])
@pytest.mark.parametrize("beginning", [b'{"a":', b'{"a":"', b'{"a":NaN,"b":'])
def test_the_time_is_linear(beginning, repeated):
    content = beginning + repeated * (400_000 // len(repeated))  # took minutes where the time was quadratic
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"."):
        decode_tolerantly(content, ANYTHING)
    assert time.monotonic() - start < 5
