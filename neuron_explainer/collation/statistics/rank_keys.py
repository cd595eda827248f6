"""Ranks as single integers, so that keeping the best k is associative and has no ties.

An example's rank is one int64: its score in the upper half, the complement of its sequence's number in the lower half.
Two sequences never have the same rank; among equal scores the earlier sequence ranks higher. The best k of a union is
then the best k of the parts' best k, whatever the parts were: batches, workers, or the two halves of a resumed run.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

EMPTY_RANK = torch.iinfo(torch.int64).min
"""The rank of a slot that holds nothing; below every real rank."""

_LOW_HALF = 0xFFFFFFFF
MAX_SEQUENCE_INDEX = _LOW_HALF
"""Sequences are numbered with 32 bits."""

# SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), in signed 64-bit arithmetic.
_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def rank_of_score(
    score: Float32[Tensor, "components sequences"], sequence_index: Int64[Tensor, " sequences"]
) -> Int64[Tensor, "components sequences"]:
    """Ranks by score, the highest first; equal scores (0.0 and -0.0 are equal) by sequence number, the lowest first."""
    bits = (score + 0.0).contiguous().view(torch.int32).to(torch.int64)
    # The bit patterns of positive floats are ordered as the floats; those of negative ones in reverse.
    ordered = torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    return (ordered << 32) | (_LOW_HALF - sequence_index)


def rank_of_chance(
    seed: int, layer: int, component: Int64[Tensor, " components"], sequence_index: Int64[Tensor, " sequences"]
) -> Int64[Tensor, "components sequences"]:
    """Ranks by a hash of seed, layer, component and sequence: a uniform random order of its own for every component.

    The k best of it are a random sample without replacement, the same however the sequences are divided into batches.
    """
    stream = _mix(_mix(component + _wrapped((seed * 0x10001 + layer) * _GAMMA)) + _wrapped(seed))
    chance = _mix(stream[:, None] + (sequence_index[None, :] + 1) * _GAMMA)
    upper = (chance >> 33) & 0x7FFFFFFF
    return (upper << 32) | (_LOW_HALF - sequence_index)


def sequence_index_of_rank(rank: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The sequence that a rank belongs to; -1 for an empty slot."""
    return torch.where(rank == EMPTY_RANK, -1, _LOW_HALF - (rank & _LOW_HALF))


def _mix(value: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    value = (value ^ ((value >> 30) & 0x3FFFFFFFF)) * _MIX_1
    value = (value ^ ((value >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return value ^ ((value >> 31) & 0x1FFFFFFFF)


def _wrapped(value: int) -> int:
    """A Python integer brought into the range of a signed 64-bit one, as the tensors' arithmetic wraps."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
