"""The answers that led to an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """An earlier answer that led to this one: what was asked, its value, and its tables.

    Attributes:
        request: what was asked, as JSON values.
        title: what the number is, in words.
        value: the number.
        parts, nodes: the tables of the answer.
    """

    request: Mapping[str, Any]
    title: str
    value: float
    parts: Any = field(repr=False)
    nodes: Any = field(repr=False)
