"""The positions of a forward pass, and what each of them may attend to."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.rotary import RotaryEmbedding


class Span:
    """The tokens of one pass: from position 0 on, or with a cache, after the cached tokens.

    Attributes:
        position_ids: positions, shape (rows, tokens); a single row if all prompts have the same positions.
        n_keys: how many tokens can be attended to, earlier ones included.
    """

    def __init__(self, n_tokens: int, device: torch.device, cache: KeyValueCache | None = None) -> None:
        self.n_tokens = n_tokens
        self.cache = cache
        starts = [0] if cache is None or not cache.lengths else cache.lengths
        if len(set(starts)) == 1:
            starts = starts[:1]
        self.starts = starts
        self.n_keys = max(starts) + n_tokens
        first = starts[0] if len(starts) == 1 else 0
        positions = torch.arange(first, first + n_tokens, dtype=torch.int64, device=device)[None]
        if len(starts) > 1:
            positions = torch.tensor(starts, dtype=torch.int64, device=device)[:, None] + positions
        self.position_ids: Int[Tensor, "rows tokens"] = positions
        self._masks: dict[tuple[int | None, torch.dtype], Tensor] = {}
        self._rotations: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}

    @property
    def is_whole_prompt(self) -> bool:
        """Whether there are no earlier tokens, so that the plain causal mask applies."""
        return self.n_keys == self.n_tokens

    def window_that_matters(self, window: int | None) -> int | None:
        """The sliding window; None if all tokens fit into it."""
        return None if window is None or window >= self.n_keys else window

    def sees_everything(self, window: int | None) -> bool:
        """Whether no mask is needed: one new token per prompt, all at the same position."""
        return self.n_tokens == 1 and len(self.starts) == 1 and self.window_that_matters(window) is None

    def mask(self, window: int | None, dtype: torch.dtype) -> Float[Tensor, "rows 1 tokens keys"]:
        """The mask that is added to attention logits: 0 where a token may attend, -inf elsewhere."""
        key = (self.window_that_matters(window), dtype)
        if key not in self._masks:
            own = self.position_ids[:, None, :, None]
            others = torch.arange(self.n_keys, dtype=torch.int64, device=own.device)
            hidden = others > own
            if key[0] is not None:
                hidden |= others <= own - key[0]
            mask = torch.zeros(hidden.shape, dtype=dtype, device=own.device)
            self._masks[key] = mask.masked_fill_(hidden, float("-inf"))
        return self._masks[key]

    def rotation(
        self, rotary: RotaryEmbedding, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "rows tokens 1 channels"], Float[Tensor, "rows tokens 1 channels"]]:
        """Cosines and sines of this span's positions, computed once for all layers.

        Raises:
            InvalidRequestError: the cache's keys were rotated by longrope's short factors, and this pass is a long one.
        """
        key = (id(rotary), dtype)
        n_earlier = max(self.starts)
        if n_earlier and rotary.config.is_long(self.n_keys) and not rotary.config.is_long(n_earlier):
            raise InvalidRequestError(
                "The model rotates keys in another way in contexts of more than "
                f"{rotary.config.original_context_length} tokens, and the cache holds {n_earlier}. Run the whole text, "
                "with a new cache."
            )
        if key not in self._rotations:
            self._rotations[key] = rotary.at(self.position_ids, self.n_keys, dtype)
        return self._rotations[key]
