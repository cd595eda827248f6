"""Two passes compared place by place, in the order in which a pass computes them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuron_explainer.checking.findings import Finding, Where, failed, passed
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType

OF_LAYER = (
    _PLACE.ATTN_INPUT_LAYER_NORM_SCALE,
    _PLACE.RESID_POST_MLP_LAYER_NORM,
    _PLACE.ATTN_QUERY,
    _PLACE.ATTN_KEY,
    _PLACE.ATTN_VALUE,
    _PLACE.ATTN_QK_LOGITS,
    _PLACE.ATTN_QK_PROBS,
    _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES,
    _PLACE.RESID_DELTA_ATTN,
    _PLACE.RESID_POST_ATTN,
    _PLACE.MLP_INPUT_LAYER_NORM_SCALE,
    _PLACE.RESID_POST_ATTN_LAYER_NORM,
    _PLACE.MLP_PRE_ACT,
    _PLACE.MLP_POST_ACT,
    _PLACE.RESID_DELTA_MLP,
    _PLACE.RESID_POST_MLP,
)
"""The places of a layer, in the order in which it computes them."""
AT_END = (_PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM, _PLACE.LOGITS)

_OVER_TOKENS = (_PLACE.ATTN_QK_LOGITS, _PLACE.ATTN_QK_PROBS)
"""The places that have a number for each token that is attended to."""

LOGITS_KEY: PlaceAndLayer = (_PLACE.LOGITS, None)

_SHARE_OF_LARGEST = 1e-3
"""A token's numbers count as at least this share of the largest at the place: rounding is of what was added up."""


def in_order(n_layers: int) -> list[PlaceAndLayer]:
    """All places of a model with so many layers, in the order in which a pass computes them."""
    of_layers = [(place, layer) for layer in range(n_layers) for place in OF_LAYER]
    return [(_PLACE.RESID_POST_EMBEDDING, None), *of_layers, *((place, None) for place in AT_END)]


def of_beginning(key: PlaceAndLayer, tensor: Tensor, n_tokens: int) -> Tensor:
    """What a place has at the first tokens. They attend to no others, so it is that of a pass over these alone."""
    first = tensor[:, :n_tokens]
    return first[:, :, :n_tokens] if key[0] in _OVER_TOKENS else first


def one_layer_each(keys: Iterable[PlaceAndLayer], n_layers: int) -> list[PlaceAndLayer]:
    """Every place once, in layers that are spread over the model."""
    places = list(dict.fromkeys(place for place, _ in keys))
    return [
        (place, None if place.has_no_layers else (number * n_layers // len(places)))
        for number, place in enumerate(places)
    ]


def order_of(where: Where) -> tuple[int, int]:
    """When a pass computes a place, for sorting."""
    if where.place in OF_LAYER:
        return (where.layer or 0), OF_LAYER.index(where.place)
    return (-1, 0) if where.place == _PLACE.RESID_POST_EMBEDDING else (sys.maxsize, AT_END.index(where.place))


@dataclass(frozen=True, eq=False)
class PlaceDifference:
    """How far two passes are apart at a place and layer.

    Attributes:
        where: the token at which they are farthest apart.
        relative: the largest difference there, as a share of the largest finite number at the token.
        absolute: the largest difference at the place.
        magnitude: the largest finite number at the place in what was expected.
        by_token: the relative difference at each token; (batch, tokens).
    """

    where: Where
    relative: float
    absolute: float
    magnitude: float
    by_token: Float[Tensor, "batch tokens"]

    def at_median(self, real: Bool[Tensor, "batch tokens"]) -> float:
        """The relative difference at the median one of the real tokens.

        A router may choose another expert where two have nearly equal scores: that is a large difference at some
        tokens, and no fault.
        """
        return float(self.by_token[real.cpu()].median())

    def of_prompt(self, number: int) -> PlaceDifference:
        """The same difference, if the passes were of one prompt of several alone."""
        return replace(self, where=replace(self.where, prompt=number))

    def first_beyond(self, allowed: float) -> Where:
        """The first token at which they are farther apart than that; the farthest one if there is none."""
        beyond = torch.nonzero(~(self.by_token <= allowed))
        if not len(beyond):
            return self.where
        prompt, token = beyond[0].tolist()
        _, farthest = divmod(int(self.by_token.argmax()), self.by_token.shape[1])
        first_token = (self.where.token or 0) - farthest
        return replace(self.where, token=token + first_token, prompt=self.where.prompt or prompt)


def difference_at(
    key: PlaceAndLayer, found: Tensor, expected: Tensor, real: Bool[Tensor, "batch tokens"], first_token: int = 0
) -> PlaceDifference:
    """How far two tensors of a place are apart, at real tokens.

    A number that is not finite in one and another in the other is an infinite difference. Equal infinities are none,
    nor is "not a number" in both.

    Args:
        key: place and layer.
        found, expected: (batch, tokens, …).
        real: which tokens are real; (batch, tokens).
        first_token: the position of the first token.
    """
    ours, theirs = (_by_token(each) for each in (found, expected))
    apart, size = (ours - theirs).abs(), theirs.abs()
    if not bool(apart.sum().isfinite()):
        apart = torch.where((ours == theirs) | (ours.isnan() & theirs.isnan()), 0.0, apart)
        apart, size = apart.nan_to_num(nan=math.inf, posinf=math.inf), torch.where(theirs.isfinite(), size, 0.0)
    apart = torch.where(real.cpu(), apart.amax(-1), 0.0)
    size = size.amax(-1)
    largest = float(torch.where(real.cpu(), size, 0.0).max())
    relative = apart / size.clamp(min=max(_SHARE_OF_LARGEST * largest, torch.finfo(size.dtype).tiny))
    prompt, token = divmod(int(relative.argmax()), relative.shape[1])
    where = Where(*key, token + first_token, prompt)
    return PlaceDifference(where, float(relative.max()), float(apart.max()), largest, relative)


def place_differences(
    found: Mapping[PlaceAndLayer, Tensor],
    expected: Mapping[PlaceAndLayer, Tensor],
    keys: Iterable[PlaceAndLayer],
    real: Bool[Tensor, "batch tokens"],
) -> list[PlaceDifference]:
    """How far two passes are apart, place by place.

    Args:
        found, expected: the tensors by place and layer.
        keys: the places, in the order in which they are computed.
        real: which tokens are real.
    """
    return [difference_at(key, found[key], expected[key], real) for key in keys]


def finding_of(
    check: str,
    several: Iterable[PlaceDifference],
    allowed: float,
    agrees: str,
    differs: str = "Numbers differ first at",
) -> Finding:
    """What a comparison found: the first difference that is too large, or the largest.

    Args:
        check: what was checked.
        several: the differences, in the order in which they arise.
        allowed: how large each may be, as a share of what is at the token.
        agrees: what is said where all agree.
        differs: what is said before the place of the first difference.
    """
    compared = list(several)
    largest = max((each.relative for each in compared), default=0.0)
    first = next((each for each in compared if not each.relative <= allowed), None)
    if first is None:
        return passed(check, agrees, largest, allowed)
    where = first.first_beyond(allowed)
    return failed(check, f"{differs} {where}.", first.relative, allowed, where)


def _by_token(tensor: Tensor) -> Float[Tensor, "batch tokens numbers"]:
    plain = tensor.detach().cpu()
    plain = plain if plain.dtype == torch.float64 else plain.float()
    return plain.flatten(2) if plain.ndim > 2 else plain.unsqueeze(-1)
