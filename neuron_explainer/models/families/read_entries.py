"""Notes of which entries of a config a family has read."""

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, cast

from neuron_explainer.models.families.config_entries import ConfigEntry, checked_entries


class ReadEntries(Mapping[str, Any]):
    """The entries of a config, with a note of those whose values were read; a copy of the config has read them all.

    Attributes:
        entries: the entries; looking at these is not noted.
        read: the names of those that were looked up.
        parts: the entries that are configs of their own, by name, with their `model_type`.
    """

    def __init__(self, entries: Mapping[str, Any]) -> None:
        # A check of types looks at the first entry, which must be none that counts.
        self.entries = {**{name: entries[name] for name in ("model_type",) if name in entries}, **entries}
        self.read: set[str] = set()
        self.parts: dict[str, tuple[str, ReadEntries]] = {}

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def with_defaults(hf_config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """A config's entries, and defaults for those that it does not have. Unlike a copy, it reads nothing by itself."""
    return ChainMap(cast(MutableMapping[str, Any], hf_config), cast(MutableMapping[str, Any], defaults))


def part_of_config(
    hf_config: Mapping[str, Any], name: str, kinds: Mapping[str, ConfigEntry], model_type: str
) -> Mapping[str, Any]:
    """A config within a config, such as `text_config`, its entries checked as those of a config alone.

    Args:
        hf_config: the whole config.
        name: the part.
        kinds: what its entries can be.
        model_type: the type whose config class the part has.

    Raises:
        MisconfiguredError: an entry has a value that it cannot have.
    """
    part = ReadEntries(checked_entries(hf_config[name], kinds))
    if isinstance(hf_config, ReadEntries):
        hf_config.parts[name] = (model_type, part)
    return part
