"""What `transformers`' config classes have: the entries of each, their defaults, and the other names of entries.

`tools/make_class_entries.py` writes the file, so that this needs no `transformers`.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASS_ENTRIES_FILE = Path(__file__).parents[2] / "data" / "transformers_config_classes.json"


@dataclass(frozen=True)
class ClassEntries:
    """The entries of a config class.

    Attributes:
        entries: their defaults; None for those that are computed from others.
        aliases: other names of entries.
    """

    entries: Mapping[str, Any]
    aliases: Mapping[str, str]


@functools.cache
def _all() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(CLASS_ENTRIES_FILE.read_text())
    return tables


def class_entries(model_type: str) -> ClassEntries | None:
    """The entries of a family's config class; None if the file has none."""
    table = _all().get(model_type)
    return ClassEntries(table["entries"], table["aliases"]) if isinstance(table, dict) else None
