"""What the installed `transformers` has, and how its configs spell things: the tests run with old releases, too."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import transformers

IS_OLD = int(transformers.__version__.split(".")[0]) < 5
"""Whether configs have `rope_theta` and `rope_scaling` in place of `rope_parameters`."""


def lacks(model_type: str) -> str | None:
    """Why a family cannot be compared with the installed transformers; None if it can."""
    if model_type in transformers.CONFIG_MAPPING:
        return None
    return f"transformers {transformers.__version__} has no {model_type}"


def skip_if_lacking(model_type: str) -> None:
    """Skip a test of a family that the installed transformers lacks."""
    reason = lacks(model_type)
    if reason is not None:
        pytest.skip(reason)


def or_skipped(model_types: Iterable[str]) -> list[Any]:
    """Parameters of a test: model types, of which those that the installed transformers lacks are skipped."""
    return [
        each if (reason := lacks(each)) is None else pytest.param(each, marks=pytest.mark.skip(reason=reason))
        for each in model_types
    ]


def as_installed(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a config, spelt as the installed transformers does."""
    spelt = copy.deepcopy(dict(entries))
    if not IS_OLD:
        return spelt
    if "text_config" in spelt:
        spelt["text_config"] = as_installed(spelt["text_config"])
    spelt.pop("swiglu_limit", None)  # which old releases have as a constant
    rope = spelt.pop("rope_parameters", None) or {}
    if "full_attention" in rope:
        spelt["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    for name, old in (
        ("rope_theta", "rotary_emb_base" if spelt.get("model_type") == "gpt_neox" else "rope_theta"),
        ("partial_rotary_factor", "rotary_pct" if spelt.get("model_type") == "gpt_neox" else "partial_rotary_factor"),
    ):
        if name in rope:
            spelt[old] = rope.pop(name)
    if spelt.get("model_type") == "phi3" and "short_factor" in rope:
        spelt["rope_scaling"] = {"type": "longrope", **{name: rope[name] for name in ("short_factor", "long_factor")}}
    elif rope.get("rope_type", "default") != "default":
        spelt["rope_scaling"] = rope
    return spelt


def rope_theta_of(config: Any) -> float:
    """The base of the rotary embedding."""
    return float(config.rope_theta if IS_OLD else config.rope_parameters["rope_theta"])


def hf_config_of(entries: Mapping[str, Any]) -> Any:
    """The installed transformers' config with these entries."""
    return transformers.AutoConfig.for_model(**as_installed(entries))


def model_of(config: Any) -> Any:
    """A model in evaluation mode, computed in the plainest way: patterns can be asked for, any size and dtype works."""
    if "num_experts_per_tok" in config.to_dict():
        config._experts_implementation = "eager"  # the default takes neither float64 nor odd sizes
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
