"""The rotary embedding that a GGUF file describes, as `rope_parameters` of a Hugging Face config."""

import math
from typing import Any

import torch

from neuron_explainer.errors import shown
from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries

FACTORS = "rope_freqs.weight"
"""The tensor with a factor for the wavelength of each pair of channels. Llama 3 is written so."""
LONG_FACTORS = "rope_factors_long.weight"
SHORT_FACTORS = "rope_factors_short.weight"
ROTARY_TENSORS = frozenset({FACTORS, LONG_FACTORS, SHORT_FACTORS})
"""The tensors that belong to the configuration, not to the weights."""

_RULES = ("none", "linear", "yarn", "longrope")
_DEFAULT_BASE = 10000.0


def rope_parameters(entries: Entries, d_head: int, *, partly: bool = False) -> dict[str, Any]:
    """The rotary embedding's settings.

    Args:
        entries: the file's entries.
        d_head: the number of channels of a head.
        partly: whether the family can rotate a share of the channels.

    Raises:
        UnsupportedCheckpointError: the rule by which wavelengths are stretched is not supported, or a share of the
            channels is rotated in a family that rotates all.
        MalformedCheckpointError: an entry or a tensor is invalid.
    """
    n_rotated = entries.size("rope.dimension_count", d_head)
    if n_rotated > d_head or (n_rotated != d_head and not partly):
        raise entries.unsupported(
            f"{entries.architecture}.rope.dimension_count is {n_rotated}, but each head has {d_head} channels; "
            f"{'at most' if partly else 'it must rotate'} all of them{' can be rotated' if partly else ''}"
        )
    share = {"partial_rotary_factor": rotated_share(n_rotated, d_head)} if partly else {}
    return {**plain_rope(entries), **_scaling(entries, n_rotated), **share}


def plain_rope(
    entries: Entries, base_key: str = "rope.freq_base", default_base: float = _DEFAULT_BASE
) -> dict[str, Any]:
    """The settings of a rotary embedding that is not stretched."""
    return {"rope_type": "default", "rope_theta": entries.number(base_key, default_base)}


def rotated_share(n_rotated: int, d_head: int) -> float:
    """The share that gives the number again when it is multiplied and rounded down."""
    share = n_rotated / d_head
    return share if int(d_head * share) == n_rotated else math.nextafter(share, 1.0)


def _scaling(entries: Entries, n_rotated: int) -> dict[str, Any]:
    factor = entries.number("rope.scaling.factor", entries.number("rope.scale_linear", 1.0))
    rule = entries.get("rope.scaling.type", "linear")  # so does llama.cpp
    if rule not in _RULES:
        raise entries.unsupported(f"rope scaling {shown(rule)} is not supported. Choose one of: {', '.join(_RULES)}")
    tables = sorted(name for name in ROTARY_TENSORS if entries.has_tensor(name))
    if tables:
        if rule == "yarn" or (rule == "linear" and factor != 1):
            raise entries.unsupported(
                f"rope scaling {shown(rule)} together with the tensor {tables[0]!r} is not supported", tables[0]
            )
        return _by_tables(entries, n_rotated, tables)
    if rule == "longrope":
        raise entries.malformed(f"rope scaling 'longrope' needs the tensors {SHORT_FACTORS!r} and {LONG_FACTORS!r}")
    if rule == "yarn":
        if entries.get("rope.scaling.factor") is None:
            raise entries.unsupported("rope scaling 'yarn' without a factor (rope.scaling.factor) is not supported")
        return _yarn(entries, factor)
    return {"rope_type": "linear", "factor": factor} if rule == "linear" and factor != 1 else {}


def _by_tables(entries: Entries, n_rotated: int, tables: list[str]) -> dict[str, Any]:
    """Each wavelength has a factor of its own: one for all contexts, or one for short and one for long ones."""
    if tables == [FACTORS]:
        factors = _factors(entries, FACTORS, n_rotated)
        settings: dict[str, Any] = {"short_factor": factors, "long_factor": factors, "attention_factor": 1.0}
        original = entries.size("context_length")  # no context is longer, and both factors are the same
    elif tables == [LONG_FACTORS, SHORT_FACTORS]:
        settings = {
            "short_factor": _factors(entries, SHORT_FACTORS, n_rotated),
            "long_factor": _factors(entries, LONG_FACTORS, n_rotated),
        }
        given = entries.number_if_set("rope.scaling.attn_factor")
        settings |= {} if given is None else {"attention_factor": given}
        original = entries.size("rope.scaling.original_context_length")
    else:
        raise entries.malformed(f"the tensors {', '.join(tables)} do not belong together")
    return {"rope_type": "longrope", **settings, "original_max_position_embeddings": original}


def _factors(entries: Entries, name: str, n_rotated: int) -> list[float]:
    shape = entries.file.tensors[name].shape
    if shape != (n_rotated // 2,):
        raise entries.malformed(
            f"tensor {name!r} has shape {list(shape)}; it must have one factor for each of {n_rotated // 2} pairs"
        )
    factors: list[float] = entries.file.read(name, dtype=torch.float32, device=torch.device("cpu")).tolist()
    if min(factors, default=1.0) <= 0:
        raise entries.malformed(f"tensor {name!r} has the factor {min(factors)}; all must be above 0")
    return factors


def _yarn(entries: Entries, factor: float) -> dict[str, Any]:
    settings = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": entries.size(
            "rope.scaling.original_context_length", entries.size("context_length")
        ),
        "beta_fast": entries.number("rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": entries.number("rope.scaling.yarn_beta_slow", 1.0),
    }
    attention_factor = entries.number_if_set("rope.scaling.yarn_attn_factor")
    scale_of_all = entries.number_if_set("rope.scaling.yarn_log_multiplier")
    if attention_factor is not None:
        settings["attention_factor"] = attention_factor
    elif scale_of_all is not None:
        settings |= {"mscale": 1.0, "mscale_all_dim": scale_of_all}
    return settings
