"""Whether a model has the config and the weights of its reference: also those that no prompt of a check uses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.checking.findings import Finding, failed, not_checked, passed
from neuron_explainer.checking.formulas.rotated import angles_of
from neuron_explainer.errors import CheckpointError, shown
from neuron_explainer.models.families.fill_parameters import config_of_tensors, fill_parameters, uses_of_tensors
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.layers.unfilled import parameter_names
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.wording import in_a_sentence

_CHANGES_NO_NUMBERS = frozenset({"model_type", "max_context_length", "qkv_layout", "rotary"})
_ROUNDINGS = 2
_SAME_NUMBER = 1e-6
_MOST_NAMED = 3


def same_model(model: Transformer, hf_model: Any) -> Iterator[Finding]:
    """Whether a model has the config and the weights of its reference, as this library reads them.

    Args:
        model: the model.
        hf_model: the reference, of the same dtype.
    """
    try:
        theirs = _as_ours(hf_model)
    except CheckpointError as error:
        yield not_checked("weights beside the reference", f"They cannot be read as ours: {in_a_sentence(error)}")
        return
    yield from _configs(model.config, theirs.config)
    if model.is_offloaded:
        yield not_checked("weights beside the reference", "The weights stay on the disk (offload).")
    elif set(parameter_names(model)) != set(parameter_names(theirs)) and (
        model.config.qkv_layout != theirs.config.qkv_layout
    ):
        yield not_checked("weights beside the reference", "They are stored in another layout.")
    else:
        yield _weights(model, theirs)


def _as_ours(hf_model: Any) -> Transformer:
    """The reference in our form; memory is shared. Nothing is warned of or refused as in loading."""
    hf_config, tensors = hf_model.config.to_dict(), hf_model.state_dict()
    family = family_of(hf_config)
    config = config_of_tensors(family, family.config(hf_config), tensors)
    theirs = Transformer(config)
    fill_parameters(theirs, uses_of_tensors(family, config, tensors.keys()), tensors)
    return theirs


def _configs(ours: TransformerConfig, theirs: TransformerConfig) -> Iterator[Finding]:
    name = "config beside the reference"
    different = [
        said
        for field in fields(TransformerConfig)
        if field.name not in _CHANGES_NO_NUMBERS
        for said in _entry(field.name, getattr(ours, field.name), getattr(theirs, field.name), ours.max_context_length)
    ]
    more = f", and {len(different) - _MOST_NAMED} more" if len(different) > _MOST_NAMED else ""
    if different:
        yield failed(name, f"Here and in the reference: {'; '.join(different[:_MOST_NAMED])}{more}.")
    else:
        yield passed(name, "All entries that change numbers are the same.")
    if ours.max_context_length != theirs.max_context_length:
        said = f"The model reads {ours.max_context_length:,} tokens, and the reference {theirs.max_context_length:,}."
        yield not_checked("context beside the reference", f"{said} What only one of them reads is not compared.")


def _entry(name: str, ours: Any, theirs: Any, n_most: int) -> Iterator[str]:
    """What differs in an entry: the first layer of those that have one value for each."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        layers = (layer for layer, pair in enumerate(zip(ours, theirs, strict=True)) if not _same(*pair, n_most))
        first = next(layers, None)
        if first is not None:
            yield f"{name} is {_short(ours[first])} and {_short(theirs[first])} in layer {first}"
    elif not _same(ours, theirs, n_most):
        yield f"{name} is {_short(ours)} and {_short(theirs)}"


def _short(value: Any) -> str:
    if not isinstance(value, RotaryConfig):
        return shown(value)
    pairs = "interleaved" if value.is_interleaved else "halves"
    return f"{pairs}, {value.n_channels} channels, base {value.base:g}, scaling {value.scaling}"


def _same(ours: Any, theirs: Any, n_most: int) -> bool:
    """Whether two values of an entry give the same numbers in prompts of up to so many tokens."""
    if isinstance(ours, RotaryConfig) and isinstance(theirs, RotaryConfig):
        return ours.n_channels == theirs.n_channels and (
            ours.n_channels == 0
            or (
                ours.is_interleaved == theirs.is_interleaved
                and math.isclose(ours.attention_factor, theirs.attention_factor, rel_tol=_SAME_NUMBER)
                and all(
                    math.isclose(*pair, rel_tol=_SAME_NUMBER)
                    for n in (1, n_most)
                    for pair in zip(angles_of(ours, n), angles_of(theirs, n), strict=True)
                )
            )
        )
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=_SAME_NUMBER)
    return bool(ours == theirs)


def _weights(model: Transformer, theirs: Transformer) -> Finding:
    name, others = "weights beside the reference", dict(theirs.named_parameters())
    n, different = 0, []
    for parameter, weight in model.named_parameters():
        other = others.pop(parameter, None)
        said = "is not in the reference" if other is None else _difference(weight, other)
        different += [f"{parameter} {said}"] if said else []
        n += weight.numel()
    different += [f"{parameter} of the reference is not here" for parameter in others]
    if not different:
        return passed(name, f"All {n:,} weights are the same.")
    more = f"; and {len(different) - _MOST_NAMED} more" if len(different) > _MOST_NAMED else ""
    return failed(name, f"{'; '.join(different[:_MOST_NAMED])}{more}.")


def _difference(ours: Tensor, theirs: Tensor) -> str | None:
    """What differs between two weights, and in which row first; None if nothing does."""
    if ours.shape != theirs.shape:
        return f"has shape {tuple(ours.shape)} here and {tuple(theirs.shape)} in the reference"
    theirs = theirs.to(ours)
    if torch.equal(ours, theirs):
        return None
    allowed = _ROUNDINGS * torch.finfo(ours.dtype).eps * float(theirs.nan_to_num(0, 0, 0).abs().max())
    wrong = ~((ours - theirs).abs() <= allowed)
    if not bool(wrong.any()):
        return None
    rows = wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong
    first = int(torch.nonzero(rows)[0])
    return (
        f"differs in {int(rows.sum()):,} of {len(rows):,} {'rows' if wrong.ndim > 1 else 'numbers'}, first in {first:,}"
    )
