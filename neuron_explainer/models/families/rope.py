"""The rotary embedding's settings in Hugging Face configs, with old and new names."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError, choices_sentence, nearest_first, shown
from neuron_explainer.models.families.config_entries import checked_rope_entries
from neuron_explainer.models.families.family import refuse
from neuron_explainer.models.rotary_config import RotaryConfig

_ORIGINAL_LENGTH = "original_max_position_embeddings"


def rotary_config(
    hf_config: Mapping[str, Any],
    d_head: int,
    *,
    share_rotated: float | None = None,
    is_interleaved: bool = False,
    layer_type: str | None = None,
    default_base: float = 10000.0,
    base_entry: str = "rope_theta",
    share_entry: str = "partial_rotary_factor",
    rule_names: Mapping[str, str] = MappingProxyType({}),
) -> RotaryConfig:
    """The rotary embedding that a config describes.

    Newer configs have everything in `rope_parameters`, for all layers or by the type of layer. Older ones have the base
    and the share at the top level, under names of the family's own, and, for stretched contexts, `rope_scaling`.

    Args:
        hf_config: the config's entries.
        d_head: the number of channels of a head.
        share_rotated: the share of a head's channels that is rotated, if the config does not say; None for a family
            that always rotates all of them.
        is_interleaved: whether neighbouring channels are paired.
        layer_type: the type of layer, such as "full_attention", in a family whose types have settings of their own;
            None in other families.
        default_base: the base, if the config does not say it.
        base_entry: the family's old name of the base. Another family's name means nothing, as in `transformers`.
        share_entry: the family's old name of the share.
        rule_names: what the family calls other than it is called elsewhere: its name of a scaling rule, and the usual.

    Raises:
        MisconfiguredError: a setting has a value that it cannot have.
        UnsupportedCheckpointError: there are settings for each type of layer in a family without types; the scaling
            rule is not known; a constant is missing; or only a share of the channels is rotated, in a family that
            rotates all.
    """
    settings = checked_rope_entries(hf_config, layer_type)
    bases = (settings.get("rope_theta"), hf_config.get(base_entry))
    base = next((base for base in bases if base is not None), default_base)
    n_channels = int(d_head * _share_rotated(hf_config, settings, share_rotated, share_entry))
    rule = settings.get("rope_type") or settings.get("type") or "default"
    rule = rule_names.get(rule, rule)
    if rule not in _SETTINGS_BY_RULE:
        raise UnsupportedCheckpointError(
            f"The {hf_config.get('model_type')} config has the rope type {shown(rule)}, which is not supported. "
            f"{choices_sentence(nearest_first(str(rule)[:100], _SETTINGS_BY_RULE))}"
        )
    scaling = _SETTINGS_BY_RULE[rule](_Constants(hf_config, settings, rule))
    return RotaryConfig(n_channels=n_channels, base=float(base), is_interleaved=is_interleaved, **scaling)


def has_rope_by_layer_type(hf_config: Mapping[str, Any]) -> bool:
    """Whether `rope_parameters` has settings for each type of layer, in a family in which these differ.

    Raises:
        UnsupportedCheckpointError: it has the same for all layers, or `rope_scaling` says something too.
    """
    settings, stretched = hf_config.get("rope_parameters"), hf_config.get("rope_scaling")
    if not settings:
        return False
    problem = ""
    if not any(isinstance(each, Mapping) for each in settings.values()):
        problem = "is the same for all layers. Give settings for each type of layer: full_attention, sliding_attention."
    elif stretched:
        problem = f"is there beside rope_scaling = {shown(stretched)}. Leave rope_scaling out."
    if problem:
        raise UnsupportedCheckpointError(
            f"The {hf_config.get('model_type')} config's rope_parameters = {shown(settings)} {problem}"
        )
    return True


def rotary_by_layer_type(
    hf_config: Mapping[str, Any], d_head: int, *, default_base: float = 10000.0
) -> tuple[RotaryConfig, RotaryConfig]:
    """The rotary embeddings of layers that attend everywhere, and of those with a window. See `rotary_config`."""
    everywhere, within = (
        rotary_config(hf_config, d_head, layer_type=kind, default_base=default_base)
        for kind in ("full_attention", "sliding_attention")
    )
    return everywhere, within


class _Constants:
    """The constants of a scaling rule, each checked to be there when it is asked for."""

    def __init__(self, hf_config: Mapping[str, Any], settings: Mapping[str, Any], rule: str) -> None:
        self.hf_config = hf_config
        self.settings = settings
        self.rule = rule

    def __getitem__(self, name: str) -> float:
        return float(self.entry(name))

    def entry(self, name: str) -> Any:
        """A number, or a list of them.

        Raises:
            UnsupportedCheckpointError: it is missing.
        """
        value = self.settings.get(name)
        if value is None:
            raise UnsupportedCheckpointError(
                f"The rope type {self.rule!r} needs {name!r}; it is not among {shown(sorted(map(str, self.settings)))}."
            )
        return value

    def get(self, name: str) -> float | None:
        value = self.settings.get(name)
        return None if value is None else float(value)

    @property
    def original_length(self) -> int:
        """The length of contexts before they were stretched. `transformers` lets the top level's win."""
        beside = self.hf_config.get(_ORIGINAL_LENGTH)
        return int(self[_ORIGINAL_LENGTH] if beside is None else beside)

    def stretch(self) -> float:
        """The factor, or the ratio of the lengths."""
        factor = self.get("factor")
        longest = self.hf_config.get("max_position_embeddings")
        return float(longest) / self.original_length if factor is None and longest else self["factor"]


def _llama3(constants: _Constants) -> dict[str, Any]:
    return {
        "scaling": "llama3",
        "factor": constants["factor"],
        "low_frequency_factor": constants["low_freq_factor"],
        "high_frequency_factor": constants["high_freq_factor"],
        "original_context_length": constants.original_length,
    }


def _yarn(constants: _Constants) -> dict[str, Any]:
    factor = constants.stretch()
    attention_factor = constants.get("attention_factor")
    if attention_factor is None:
        one, all_channels = constants.get("mscale"), constants.get("mscale_all_dim")
        if one and all_channels:
            attention_factor = _yarn_scale(factor, one) / _yarn_scale(factor, all_channels)
        else:
            attention_factor = _yarn_scale(factor, 1.0)
    return {
        "scaling": "yarn",
        "factor": factor,
        "low_frequency_factor": constants.get("beta_slow") or 1.0,
        "high_frequency_factor": constants.get("beta_fast") or 32.0,
        "original_context_length": constants.original_length,
        "rounds_step": bool(constants.settings.get("truncate", True)),
        "attention_factor": attention_factor,
    }


def _yarn_scale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _longrope(constants: _Constants) -> dict[str, Any]:
    original, factor = constants.original_length, constants.stretch()
    attention_factor = constants.get("attention_factor")
    if attention_factor is None:
        attention_factor = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    return {
        "scaling": "longrope",
        "original_context_length": original,
        "attention_factor": attention_factor,
        "short_factors": tuple(map(float, constants.entry("short_factor"))),
        "long_factors": tuple(map(float, constants.entry("long_factor"))),
    }


_SETTINGS_BY_RULE = {
    "default": lambda constants: {},
    "linear": lambda constants: {"scaling": "linear", "factor": constants["factor"]},
    # It stretches only contexts longer than max_position_embeddings, which no pass here can be.
    "dynamic": lambda constants: {},
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
"""For each scaling rule, the entries of `RotaryConfig`."""


def _share_rotated(
    hf_config: Mapping[str, Any], settings: Mapping[str, Any], default: float | None, share_entry: str
) -> float:
    newer, older = settings.get("partial_rotary_factor"), hf_config.get(share_entry)
    for name, share in (("partial_rotary_factor", newer), (share_entry, older)):
        if share is not None:
            if default is None:
                refuse({name: share}, name, 1, model_type=hf_config.get("model_type"))
            return float(share)
    return 1.0 if default is None else default
