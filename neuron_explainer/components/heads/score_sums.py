"""What head scores are means of: sums over tokens and pairs, added up batch by batch in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

COLUMNS = ("previous", "duplicate", "induction", "self", "first", "entropy", "distance", "distance_spread")
_MEANS = ("previous", "self", "first", "entropy")
_OF_REPEATED = ("duplicate", "induction")
_WEIGHTS = ("attention", "distances", "squares")


@dataclass(frozen=True)
class PairsOfBatch:
    """What the pairs of tokens of a batch are, the same for all heads.

    Attributes:
        counted: the tokens that are counted: all after the first of each sequence, without padding.
        earlier: pairs of a token and an earlier occurrence of it.
        after_earlier: pairs of a token and the token after an earlier occurrence, before the token itself.
        distance: how many tokens back the second of a pair is.
    """

    counted: Float[Tensor, "batch tokens"]
    earlier: Float[Tensor, "batch tokens to"]
    after_earlier: Float[Tensor, "batch tokens to"]
    distance: Float[Tensor, "tokens to"]

    @classmethod
    def of(cls, tokens: Int64[Tensor, "batch tokens"], lengths: Int64[Tensor, " batch"]) -> PairsOfBatch:
        """The pairs of sequences that are padded on the right."""
        places = torch.arange(tokens.shape[1], dtype=torch.int64, device=tokens.device)
        counted = (places < lengths[:, None]) & (places > 0)
        distance = places[:, None] - places
        same: Bool[Tensor, "batch tokens to"] = (tokens[:, :, None] == tokens[:, None, :]) & (distance > 0)
        after = torch.zeros_like(same)
        after[:, :, 1:] = same[:, :, :-1] & (distance[:, 1:] > 0)
        return cls(counted.float(), same.float(), after.float(), distance.float())

    @property
    def repeated(self) -> Float[Tensor, "batch tokens"]:
        """The counted tokens that have occurred before."""
        return self.counted * self.earlier.amax(-1)


class ScoreSums:
    """The sums of every head so far."""

    def __init__(self, n_layers: int, n_heads: int) -> None:
        self.n_tokens = 0.0
        self.n_repeated = 0.0
        self.by_name = {
            name: torch.zeros(n_layers, n_heads, dtype=torch.float64, device="cpu")
            for name in (*_MEANS, *_OF_REPEATED, *_WEIGHTS)
        }

    def count(self, pairs: PairsOfBatch) -> None:
        """Count a batch's tokens; once, not for each layer."""
        self.n_tokens += float(pairs.counted.sum())
        self.n_repeated += float(pairs.repeated.sum())

    def add(self, layer: int, pattern: Float[Tensor, "batch tokens to heads"], pairs: PairsOfBatch) -> None:
        """Add the attention of a layer's heads on a batch."""
        by_head = pattern.permute(3, 0, 1, 2)
        weighted = by_head * pairs.counted[..., None].to(by_head.dtype)
        distance = pairs.distance.clamp(min=0).to(by_head.dtype)
        squares = distance.square()
        before = weighted.diagonal(offset=-1, dim1=-2, dim2=-1)
        sums = {
            "previous": before.sum((1, 2)),
            "self": weighted.diagonal(dim1=-2, dim2=-1).sum((1, 2)),
            "first": weighted[..., 0].sum((1, 2)),
            "entropy": torch.special.entr(weighted).sum((1, 2, 3)),  # of what is not counted it is 0
            "duplicate": torch.einsum("hbij,bij->h", weighted, pairs.earlier.to(by_head.dtype)),
            "induction": torch.einsum("hbij,bij->h", weighted, pairs.after_earlier.to(by_head.dtype)),
            "attention": weighted.sum((1, 2, 3)),
            "distances": torch.einsum("hbij,ij->h", weighted, distance),
            "squares": torch.einsum("hbij,ij->h", weighted, squares),
        }
        for name, of_heads in sums.items():
            self.by_name[name][layer] += of_heads.double().cpu()

    def scores(self) -> dict[str, Float[Tensor, "layers heads"]]:
        """Each score of every head; NaN where no token is counted."""
        sums = self.by_name
        distance = sums["distances"] / sums["attention"]
        spread = (sums["squares"] / sums["attention"] - distance.square()).clamp(min=0).sqrt()
        return {
            **{name: sums[name] / self.n_tokens if self.n_tokens else sums[name] * torch.nan for name in _MEANS},
            **{
                name: sums[name] / self.n_repeated if self.n_repeated else sums[name] * torch.nan
                for name in _OF_REPEATED
            },
            "distance": distance,
            "distance_spread": spread,
        }
