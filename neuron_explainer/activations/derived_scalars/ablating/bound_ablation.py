"""An ablation bound to a model: what is written where, in which prompts of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from neuron_explainer.activations.derived_scalars.index_fields import SizeOf, check_position, whole_axis
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.dimensions import Dimension


@dataclass(frozen=True, eq=False)
class BoundAblation:
    """What is written where, in which prompts of a batch.

    Attributes:
        index: what is overwritten.
        values: one number; or a tensor for the axes that the index names as a whole, which broadcasts to them; or
            "mean", which stands for the mean activation until the pass runs.
        tokens: the positions to overwrite on the token axis; None: as the index says.
        row: the prompt to overwrite; None for every prompt of the batch.
        n_tokens: how many tokens the prompt must have; None for any number.
    """

    index: ActivationIndex
    values: float | Tensor | Literal["mean"]
    tokens: tuple[int, ...] | None = None
    row: int | None = None
    n_tokens: int | None = None

    def of_prompts(self, numbers: Sequence[int]) -> BoundAblation | None:
        """The same for some of the prompts alone; None if it belongs to none of them."""
        if self.row is None:
            return self
        return replace(self, row=numbers.index(self.row)) if self.row in numbers else None

    def check_prompts(self, lengths: Sequence[int], n_layers: int) -> None:
        """Check the token positions, and how many tokens the values are for.

        Args:
            lengths: how many tokens each prompt has.
            n_layers: how many layers the model has.

        Raises:
            IndexOutOfRangeError: a prompt does not have a position.
            InvalidRequestError: the values are for another number of tokens.
        """
        concerned = lengths if self.row is None else [lengths[self.row]]
        shortest = min(concerned)
        by_prompt = {Dimension.SEQUENCE_TOKENS: shortest, Dimension.ATTENDED_TO_SEQUENCE_TOKENS: shortest}
        self.index.check_against(n_layers, by_prompt)
        for token in self.tokens or ():
            check_position(token, shortest, self.index.dimensions[0], self.index)
        for n_tokens in concerned:
            wrong = {length for length in self._token_lengths() if length not in (1, n_tokens)}
            if self.n_tokens not in (None, n_tokens):
                raise InvalidRequestError(
                    f"The values for {self.index!r} come from a prompt of {self.n_tokens} tokens; the prompt has "
                    f"{n_tokens}. Give prompts of equal length."
                )
            if wrong:
                raise InvalidRequestError(
                    f"The values for {self.index!r} are for {wrong.pop()} tokens; the prompt has {n_tokens}. Give one "
                    "value for each of its tokens, or one for all."
                )

    def check_values(self, size_of: SizeOf) -> None:
        """Check the values' shape as far as it does not depend on the prompt.

        Raises:
            InvalidRequestError: an axis is neither as long as the index's, nor of length 1.
        """
        for dimension, length in self._aligned():
            size = size_of.get(dimension) if not callable(size_of) else size_of(dimension)
            if dimension is Dimension.SEQUENCE_TOKENS and self.tokens is not None:
                size = len(self.tokens)
            if length not in (1, size) and size is not None and isinstance(self.values, Tensor):
                axes = ", ".join(self._named())
                raise InvalidRequestError(
                    f"The values for {self.index!r} have the shape {tuple(self.values.shape)}: the axis {dimension} is "
                    f"of length {size} (or 1, for all). The axes are: {axes or 'none, as the index names one number'}."
                )

    def write(self, tensor: Tensor, values: float | Tensor) -> None:
        """Write into the tensor of a batch, (batch, *axes), in place; `values` stand for "mean"."""
        rows = slice(None) if self.row is None else slice(self.row, self.row + 1)
        part = tensor[(rows, *self.index.slices)]
        where: list[slice | list[int]] = [slice(None)] * part.ndim
        # Values for every token of a prompt are not for the padding after it.
        for axis, (dimension, length) in enumerate(reversed(self._aligned()), start=1):
            if dimension.is_sequence_token_dimension and length > 1:
                if length > part.shape[-axis]:
                    raise InvalidRequestError(
                        f"The values for {self.index!r} are for {length} tokens; the batch has {part.shape[-axis]}."
                    )
                where[-axis] = slice(length)
        if self.tokens is not None:
            where[1] = list(self.tokens)
        part[tuple(where)] = values

    def _named(self) -> list[Dimension]:
        """The axes that the index names as a whole."""
        place = self.index.activation_location_type
        entries = zip(place.shape, self.index.tensor_indices, strict=True)
        return [dimension for dimension, entry in entries if whole_axis(entry)]

    def _aligned(self) -> list[tuple[Dimension, int]]:
        """The axes of the values, with their lengths; broadcasting aligns the last ones."""
        if not isinstance(self.values, Tensor) or not self.values.ndim:
            return []
        named = self._named()[-self.values.ndim :]
        return list(zip(named, self.values.shape, strict=True))

    def _token_lengths(self) -> list[int]:
        """The lengths of the values' axes that stand for all tokens of the prompt."""
        return [
            length
            for dimension, length in self._aligned()
            if dimension.is_sequence_token_dimension
            and not (dimension is Dimension.SEQUENCE_TOKENS and self.tokens is not None)
        ]
