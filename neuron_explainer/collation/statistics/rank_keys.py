"""Ranks as single integers, so that keeping the k highest is associative and has no ties.

An example's rank is one int64: its score in the upper half, the complement of its sequence's number in the lower half.
No two sequences have the same rank; of equal scores the earlier sequence ranks higher. So the k highest ranks of a
whole are the k highest of its parts' k highest, whatever the parts are: batches, workers, or halves of a resumed run.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

EMPTY_RANK = torch.iinfo(torch.int64).min
"""The rank of an empty slot, below every real rank."""

_LOW_HALF = 0xFFFFFFFF  # sequences are numbered with 32 bits

# SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), in signed 64-bit arithmetic.
_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def rank_of_score(
    score: Float32[Tensor, "components sequences"], sequence_index: Int64[Tensor, " sequences"]
) -> Int64[Tensor, "components sequences"]:
    """Ranks by score, the highest first; equal scores (0.0 and -0.0 are equal) by sequence number, the lowest first."""
    bits = (score + 0.0).contiguous().view(torch.int32).to(torch.int64)
    # The bit patterns of positive floats have the order of the floats, those of negative floats the reverse order.
    ordered = torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    return (ordered << 32) | (_LOW_HALF - sequence_index)


def rank_of_chance(
    seed: int, layer: int, component: Int64[Tensor, " components"], sequence_index: Int64[Tensor, " sequences"]
) -> Int64[Tensor, "components sequences"]:
    """Ranks by a hash of seed, layer, component and sequence: a uniformly random order for each component.

    The k highest are a random sample without replacement, however the sequences are divided into batches.
    """
    stream = _mix(_mix(component + _wrapped((seed * 0x10001 + layer) * _GAMMA)) + _wrapped(seed))
    chance = _mix(stream[:, None] + (sequence_index[None, :] + 1) * _GAMMA)
    upper = (chance >> 33) & 0x7FFFFFFF
    return (upper << 32) | (_LOW_HALF - sequence_index)


def sequence_index_of_rank(rank: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The number of a rank's sequence; -1 for an empty slot."""
    return torch.where(rank == EMPTY_RANK, -1, _LOW_HALF - (rank & _LOW_HALF))


def _mix(value: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    value = (value ^ ((value >> 30) & 0x3FFFFFFFF)) * _MIX_1
    value = (value ^ ((value >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return value ^ ((value >> 31) & 0x1FFFFFFFF)


def _wrapped(value: int) -> int:
    """A Python integer in the range of int64, wrapped as tensor arithmetic wraps it."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
