"""Whether a latent is never active, or active on much of all text."""

from __future__ import annotations

import math
from typing import SupportsFloat

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension

DENSE_ABOVE = 0.1
"""The share of tokens above which a latent is called dense, unless a caller says another."""


def is_of_latents(dst: DerivedScalarType | None) -> bool:
    """Whether a derived scalar is of latents, whose activations are 0 or more."""
    return dst is not None and dst.shape_spec_per_token_sequence[-1] is Dimension.AUTOENCODER_LATENTS


def is_dead(record: NeuronRecord) -> bool | None:
    """Whether a latent is never above 0: by its frequency, or without one by all stored examples; else None."""
    if not is_of_latents(record.dst):
        return None
    if record.activation_frequency is not None:
        return record.activation_frequency == 0
    peaks = [peak for _, _, _, example in record.examples() if (peak := example.max_activation) is not None]
    return max(peaks) <= 0 if peaks else None


def is_dense(record: NeuronRecord, dense_above: float) -> bool | None:
    """Whether a latent is above 0 on more than a share of the tokens; None of others, or if it is unknown."""
    if not is_of_latents(record.dst) or record.activation_frequency is None:
        return None
    return record.activation_frequency > dense_above


def checked_share(name: str, share: SupportsFloat) -> float:
    """A share from 0 to 1.

    Raises:
        InvalidRequestError: it is not one.
    """
    try:
        number = float(share)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(share, bool | str) or not 0 <= number <= 1:
        raise InvalidRequestError(f"{name} is {shown(share)}. Give a share from 0 to 1.")
    return number
