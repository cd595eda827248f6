"""What to say of a config's entries that a family has not read: nothing, a warning, or that the model is refused."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError, shown
from neuron_explainer.models.families.class_entries import class_entries
from neuron_explainer.models.families.config_entries import ROPE_ENTRIES, ROPE_NAMES
from neuron_explainer.models.families.family import Family
from neuron_explainer.models.families.harmless_entries import (
    HARMLESS,
    HARMLESS_VALUES,
    OTHER_SPELLINGS,
    REFUSED_IN_ALL,
)
from neuron_explainer.models.families.read_entries import ReadEntries
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.notices import UnknownConfigEntryWarning, warn
from neuron_explainer.wording import N_NEAREST

_ROPE_SETTINGS = {*ROPE_ENTRIES, "llama_4_scaling_beta", "max_position_embeddings"}
_NO_OTHER = "this library supports no other value"

_are_said: ContextVar[bool] = ContextVar("unknown config entries are said", default=False)


@contextmanager
def unknown_entries_are_said() -> Iterator[None]:
    """Within this context, unknown entries are not warned of: the config was read before, for the same model."""
    token = _are_said.set(True)
    try:
        yield
    finally:
        _are_said.reset(token)


def unknown_entries(family: Family, entries: ReadEntries, config: TransformerConfig) -> list[str]:
    """The names of the entries that nobody knows. Those that are known, not read, and change the model are refused.

    Args:
        family: has read the config.
        entries: the config, with the note of what was read.
        config: what the family made of it.

    Raises:
        UnsupportedCheckpointError: such an entry is set, and not to the value that is supported.
    """
    unknown = list(_unknown_entries(family, family.model_type, entries, config))
    for name, (model_type, part) in entries.parts.items():
        unknown += (f"{name}.{each}" for each in _unknown_entries(family, model_type, part, config))
    return unknown


def warn_of_unknown_entries(model_type: str, unknown: Sequence[str]) -> None:
    """Give one warning of all entries that nobody knows, unless it was given before."""
    if not unknown or _are_said.get():
        return
    more = f" and {len(unknown) - N_NEAREST} more" if len(unknown) > N_NEAREST else ""
    warn(
        f"The config has entries that neither this library nor transformers knows in a {model_type} model: "
        f"{', '.join(unknown[:N_NEAREST])}{more}. They are not used. If one of them changes the model, its results "
        "here are not those that its authors meant.",
        UnknownConfigEntryWarning,
    )


def _unknown_entries(family: Family, model_type: str, entries: ReadEntries, config: TransformerConfig) -> Iterator[str]:
    """The names of the entries that nobody knows.

    Raises:
        UnsupportedCheckpointError: an entry that was not read is set, and not to its default.
    """
    table = class_entries(model_type)
    known = {} if table is None else table.entries
    unsupported = family.unsupported_entries if model_type == family.model_type else {}
    supported = {
        **{name: (default, f"that is its default, and {_NO_OTHER}") for name, default in known.items()},
        **{name: (value, f"that follows from the other entries, and {_NO_OTHER}") for name, value in _implied(config)},
        **REFUSED_IN_ALL,
        **{name: (value, _NO_OTHER) for name, value in unsupported.items()},
    }
    read = entries.read if table is None else entries.read & {*known, *OTHER_SPELLINGS}
    settled = (HARMLESS | family.harmless_entries | read | set(entries.parts)) - {*REFUSED_IN_ALL, *unsupported}
    for name, value in entries.entries.items():
        if value is None or name in settled:
            continue
        if name in supported:
            only, reason = supported[name]
            if not _same(value, only):
                raise UnsupportedCheckpointError(
                    f"The {model_type} config has {name} = {shown(value)}. Supported: {shown(only)}; {reason}."
                )
        elif value not in HARMLESS_VALUES.get(name, ()):
            yield shown(name)[1:-1]
    for name in entries.read.intersection(ROPE_NAMES):
        for settings in _rope_settings(entries.entries.get(name)):
            yield from (f"{name}.{shown(each)[1:-1]}" for each in settings if each not in _ROPE_SETTINGS)


def _rope_settings(settings: Any) -> Iterator[Mapping[str, Any]]:
    """The settings of the rotary embedding, of all layers or of each type."""
    if isinstance(settings, Mapping):
        by_type = [each for each in settings.values() if isinstance(each, Mapping)]
        yield from by_type or [settings]


def _implied(config: TransformerConfig) -> Iterator[tuple[str, Any]]:
    """Entries that many families leave out, as the model has them."""
    kinds = ["full_attention" if window is None else "sliding_attention" for window in config.sliding_window_by_layer]
    yield from (("head_dim", config.d_head), ("num_key_value_heads", config.n_key_value_heads), ("layer_types", kinds))


def _same(value: Any, other: Any) -> bool:
    value = list(value) if isinstance(value, tuple) else value
    return bool(value == other) or not (value or other)


def named_as_in_class(hf_config: Mapping[str, Any], family: Family) -> Mapping[str, Any]:
    """A config whose entries have the names of its config class. As in `transformers`, an alias wins over the name."""
    table = class_entries(family.model_type)
    aliases = {**({} if table is None else table.aliases), **family.entry_aliases}
    used = {alias: name for alias, name in aliases.items() if hf_config.get(alias) is not None}
    if not used:
        return hf_config
    kept = {name: value for name, value in hf_config.items() if name not in used}
    return {**kept, **{name: hf_config[alias] for alias, name in used.items()}}
