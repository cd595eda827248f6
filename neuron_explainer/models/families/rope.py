"""Reading the rotary embedding's settings from Hugging Face configs, old spellings and new."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError
from neuron_explainer.models.transformer_config import RotaryConfig


def rotary_config(hf_config: Mapping[str, Any], d_head: int, *, share_turned: float = 1.0) -> RotaryConfig:
    """The rotary embedding that a config describes.

    Newer configs hold all of it in `rope_parameters`; older ones have `rope_theta` (or `rotary_emb_base`), `rotary_pct`
    and, for stretched contexts, `rope_scaling`.

    Args:
        hf_config: the config's entries.
        d_head: channels of a head.
        share_turned: which share of a head's channels is turned where the config does not say.

    Raises:
        UnsupportedCheckpointError: the scaling rule is none of default, linear and llama3, or lacks a constant.
    """
    settings = hf_config.get("rope_parameters") or hf_config.get("rope_scaling") or {}
    base = settings.get("rope_theta") or hf_config.get("rope_theta") or hf_config.get("rotary_emb_base") or 10000.0
    share = settings.get("partial_rotary_factor", hf_config.get("rotary_pct", share_turned))
    n_channels = int(d_head * share)
    rule = settings.get("rope_type") or settings.get("type") or "default"
    if rule == "default":
        return RotaryConfig(n_channels=n_channels, base=float(base))
    if rule == "linear":
        factor = _constant(settings, rule, "factor")
        return RotaryConfig(n_channels=n_channels, base=float(base), scaling="linear", factor=factor)
    if rule == "llama3":
        return RotaryConfig(
            n_channels=n_channels,
            base=float(base),
            scaling="llama3",
            factor=_constant(settings, rule, "factor"),
            low_frequency_factor=_constant(settings, rule, "low_freq_factor"),
            high_frequency_factor=_constant(settings, rule, "high_freq_factor"),
            original_context_length=int(_constant(settings, rule, "original_max_position_embeddings")),
        )
    raise UnsupportedCheckpointError(
        f"The {hf_config.get('model_type')} config stretches its rotary embedding by the rule {rule!r}; this library "
        "knows default, linear and llama3."
    )


def _constant(settings: Mapping[str, Any], rule: str, name: str) -> float:
    if settings.get(name) is None:
        raise UnsupportedCheckpointError(
            f"The rotary embedding's rule {rule!r} needs {name!r}; the config has {', '.join(sorted(settings))}."
        )
    return float(settings[name])
