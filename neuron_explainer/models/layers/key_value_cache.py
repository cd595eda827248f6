"""The cache of keys and values of earlier tokens."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError


class KeyValueCache:
    """Keys and values of the tokens that a model has already run over.

    Prompts of a batch may have different lengths: the next tokens of each follow its own last real token.

    Example:
        cache = KeyValueCache()
        transformer(prompt_tokens, cache=cache)
        transformer(next_tokens, cache=cache)  # only the tokens that come after the prompt

    Attributes:
        lengths: the number of real tokens of each prompt so far; empty before the first pass.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._keys: dict[int, Float[Tensor, "batch heads slots d_head"]] = {}
        self._values: dict[int, Float[Tensor, "batch heads slots d_head"]] = {}

    def check_batch(self, batch: int) -> None:
        """Refuse a batch whose size differs from that of the cached one.

        Raises:
            InvalidRequestError: the sizes differ.
        """
        if self.lengths and len(self.lengths) != batch:
            raise InvalidRequestError(
                f"The cache holds {len(self.lengths)} prompts, but the batch has {batch}. Use one cache per batch."
            )

    def extend(
        self,
        layer: int,
        position_ids: Int[Tensor, "rows tokens"],
        starts: list[int],
        keys: Float[Tensor, "batch tokens key_heads d_head"],
        values: Float[Tensor, "batch tokens value_heads d_head"],
    ) -> tuple[
        Float[Tensor, "batch slots stored_key_heads d_head"], Float[Tensor, "batch slots stored_value_heads d_head"]
    ]:
        """Add the new tokens' keys and values in one layer, and return all so far, as views."""
        extended = []
        for store, new in ((self._keys, keys), (self._values, values)):
            new_heads = new.transpose(1, 2)
            n_slots = max(starts) + new.shape[1]
            store[layer] = _with_room(store.get(layer), new_heads, n_slots)
            new_heads = _repeated(new_heads, store[layer].shape[1])
            if len(starts) == 1:
                store[layer][:, :, starts[0] : n_slots] = new_heads
            else:
                rows = torch.arange(len(new_heads), dtype=torch.int64, device=new.device)[:, None]
                store[layer][rows, :, position_ids] = new_heads.transpose(1, 2)
            extended.append(store[layer][:, :, :n_slots].transpose(1, 2))
        return extended[0], extended[1]

    def advance(self, counts: list[int]) -> None:
        """Add the number of new real tokens of each prompt, after a pass."""
        self.lengths = [old + new for old, new in zip(self.lengths or [0] * len(counts), counts, strict=True)]


def _repeated(heads: Float[Tensor, "batch heads slots d_head"], n_heads: int) -> Tensor:
    return heads if heads.shape[1] == n_heads else heads.repeat_interleave(n_heads // heads.shape[1], dim=1)


def _with_room(
    stored: Float[Tensor, "batch heads slots d_head"] | None,
    new: Float[Tensor, "batch new_heads tokens d_head"],
    n_slots: int,
) -> Float[Tensor, "batch more_heads more_slots d_head"]:
    """A store with at least `n_slots` slots and at least as many heads as `new`; it grows by doubling.

    The number of heads grows when keys or values become tapped: then there is one for each head, not one for a group of
    heads.
    """
    old_heads, old_slots = (0, 0) if stored is None else stored.shape[1:3]
    n_heads = max(old_heads, new.shape[1])
    if stored is not None and old_heads == n_heads and old_slots >= n_slots:
        return stored
    room = new.new_zeros(new.shape[0], n_heads, max(n_slots, 2 * old_slots, 16), new.shape[3])
    if stored is not None:
        room[:, :, :old_slots] = _repeated(stored, n_heads)
    return room
