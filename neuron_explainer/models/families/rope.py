"""The rotary embedding's settings in Hugging Face configs, with old and new names."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError, shown
from neuron_explainer.models.families.config_entries import checked_rope_entries
from neuron_explainer.models.families.family import refuse
from neuron_explainer.models.transformer_config import RotaryConfig

_ORIGINAL_LENGTH = "original_max_position_embeddings"


def rotary_config(
    hf_config: Mapping[str, Any],
    d_head: int,
    *,
    share_rotated: float | None = None,
    base_entry: str = "rope_theta",
    share_entry: str = "partial_rotary_factor",
) -> RotaryConfig:
    """The rotary embedding that a config describes.

    Newer configs have everything in `rope_parameters`. Older ones have the base and the share at the top level, under
    names of the family's own, and, for stretched contexts, `rope_scaling`.

    Args:
        hf_config: the config's entries.
        d_head: the number of channels of a head.
        share_rotated: the share of a head's channels that is rotated, if the config does not say; None for a family
            that always rotates all of them.
        base_entry: the family's old name of the base. Another family's name means nothing, as in `transformers`.
        share_entry: the family's old name of the share.

    Raises:
        MisconfiguredError: a setting has a value that it cannot have.
        UnsupportedCheckpointError: there are settings for each type of layer; the scaling rule is not default, linear
            or llama3; a constant is missing; or only a share of the channels is rotated, in a family that rotates all.
    """
    settings = checked_rope_entries(hf_config)
    bases = (settings.get("rope_theta"), hf_config.get(base_entry))
    base = next((base for base in bases if base is not None), 10000.0)
    n_channels = int(d_head * _share_rotated(hf_config, settings, share_rotated, share_entry))
    rule = settings.get("rope_type") or settings.get("type") or "default"
    if rule == "default":
        return RotaryConfig(n_channels=n_channels, base=float(base))
    if rule == "linear":
        factor = _constant(settings, rule, "factor")
        return RotaryConfig(n_channels=n_channels, base=float(base), scaling="linear", factor=factor)
    if rule == "llama3":
        # `transformers` lets the top level's win over that of the settings.
        length = hf_config.get(_ORIGINAL_LENGTH)
        settings = settings if length is None else {**settings, _ORIGINAL_LENGTH: length}
        return RotaryConfig(
            n_channels=n_channels,
            base=float(base),
            scaling="llama3",
            factor=_constant(settings, rule, "factor"),
            low_frequency_factor=_constant(settings, rule, "low_freq_factor"),
            high_frequency_factor=_constant(settings, rule, "high_freq_factor"),
            original_context_length=int(_constant(settings, rule, _ORIGINAL_LENGTH)),
        )
    raise UnsupportedCheckpointError(
        f"The {hf_config.get('model_type')} config has the rope type {shown(rule)}, which is not supported. Supported: "
        "default, linear, llama3."
    )


def _share_rotated(
    hf_config: Mapping[str, Any], settings: Mapping[str, Any], default: float | None, share_entry: str
) -> float:
    for entries, name in ((settings, "partial_rotary_factor"), (hf_config, share_entry)):
        if entries.get(name) is not None:
            if default is None:
                refuse(entries, name, 1, model_type=hf_config.get("model_type"))
            return float(entries[name])
    return 1.0 if default is None else default


def _constant(settings: Mapping[str, Any], rule: str, name: str) -> float:
    if settings.get(name) is None:
        raise UnsupportedCheckpointError(
            f"The rope type {rule!r} needs {name!r}; it is not among {shown(sorted(map(str, settings)))}."
        )
    return float(settings[name])
