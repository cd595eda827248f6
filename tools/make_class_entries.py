"""Write down the entries of `transformers`' config classes for our families, with their defaults.

The library knows by them which entries of a `config.json` an adapter should have read. Run it after a family is added,
or when `tests/models/test_class_entries.py` finds that a new `transformers` has an entry more:

    python tools/make_class_entries.py
"""

import json
from pathlib import Path
from typing import Any

import transformers

from neuron_explainer.models.families import FAMILY_BY_MODEL_TYPE
from neuron_explainer.models.families.class_entries import CLASS_ENTRIES_FILE


def class_entries(model_type: str) -> dict[str, Any] | None:
    """A config class's own entries with their defaults, and its aliases of entries; None if there is no such class.

    An entry that is computed from others has no default of its own: null.
    """
    if model_type not in transformers.CONFIG_MAPPING:
        return None
    kind = transformers.CONFIG_MAPPING[model_type]
    made = kind()
    base = transformers.PreTrainedConfig().to_dict()
    entries = {
        name: _plain(getattr(kind, name, None)) for name in made.to_dict() if name not in base and name != "model_type"
    }
    return {"entries": entries, "aliases": dict(kind.attribute_map)}


def _plain(value: Any) -> Any:
    """A default as JSON has it; null for what is made anew by each config."""
    return value if isinstance(value, str | int | float | bool) else None


def main() -> None:
    """Write the file, one line a family."""
    by_model_type = {name: class_entries(name) for name in sorted(FAMILY_BY_MODEL_TYPE)}
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in by_model_type.items() if each is not None]
    version = f'"made by tools/make_class_entries.py with transformers": {json.dumps(transformers.__version__)}'
    Path(CLASS_ENTRIES_FILE).write_text("{\n" + ",\n".join([version, *lines]) + "\n}\n")


if __name__ == "__main__":
    main()
