"""Where activations come from: a model, and the derived scalar that is asked of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import BatchDeriver
from neuron_explainer.collation.statistics.entries import Entries, flattened_lower_triangle
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension

_TOKENS = Dimension.SEQUENCE_TOKENS
_AXES_BEFORE_COMPONENTS = {
    (_TOKENS,): Entries.TOKENS,
    (Dimension.SEQUENCE_TOKEN_PAIRS,): Entries.TOKEN_PAIRS,
    (_TOKENS, Dimension.ATTENDED_TO_SEQUENCE_TOKENS): Entries.TOKEN_PAIRS,
}


def entries_of(dst: DerivedScalarType) -> Entries:
    """Whether a scalar's activations are one a token or one a token pair.

    Raises:
        InvalidRequestError: it cannot be collated, since its components have more than one number each there.
    """
    before = tuple(dst.shape_spec_per_token_sequence[:-1])
    if before not in _AXES_BEFORE_COMPONENTS:
        axes = ", ".join(axis.value for axis in dst.shape_spec_per_token_sequence)
        choices = ", ".join(
            other.value
            for other in DerivedScalarType
            if other.shape_spec_per_token_sequence[:-1] in _AXES_BEFORE_COMPONENTS
        )
        raise InvalidRequestError(
            f"{dst.value} cannot be collated: its axes are ({axes}), and there must be one number for each token, or "
            f"token pair, and component. These can: {choices}."
        )
    return _AXES_BEFORE_COMPONENTS[before]


def layers_of(dst: DerivedScalarType, asked: Sequence[int] | None, n_layers: int) -> list[int]:
    """The layers to cover; a scalar that has no layers is filed as layer 0.

    Raises:
        InvalidRequestError: one that is asked for is not there.
    """
    there = [0] if dst.has_no_layers else list(range(n_layers))
    if asked is None:
        return there
    if missing := [layer for layer in asked if layer not in there]:
        known = (
            f"{dst.value} has no layers and is filed as 0" if dst.has_no_layers else f"there are 0 to {n_layers - 1}"
        )
        raise InvalidRequestError(f"There is no layer {missing[0]}: {known}.")
    return sorted(asked)


class ScalarSource:
    """A derived scalar of a model's batches, by layer, on the model's device; see `collation.RunModel`."""

    def __init__(
        self,
        model_context: ModelContext,
        dst: DerivedScalarType,
        layers: Sequence[int],
        config: DstConfig | None = None,
        loss: Any = None,
    ) -> None:
        """Plan what has to be recorded.

        Args:
            model_context: the model.
            dst: the scalar; see `entries_of`.
            layers: as `layers_of` gives them.
            config: autoencoders, and whatever else the scalar needs.
            loss: what gradients are of, for scalars that need them.

        Raises:
            InvalidRequestError: the scalar needs something that is not given.
        """
        self._dst = dst
        self._is_plane = Dimension.ATTENDED_TO_SEQUENCE_TOKENS in dst.shape_spec_per_token_sequence
        if not dst.has_no_layers:
            config = dataclasses.replace(config or DstConfig(), layer_indices=list(layers))
        self._deriver = BatchDeriver(model_context, [dst], config, loss=loss)

    def __call__(
        self, tokens: Int64[Tensor, "sequences tokens"], mask: Bool[Tensor, "sequences tokens"]
    ) -> dict[int, Float[Tensor, "sequences entries components"]]:
        """Run the model over a batch; the tokens and their mask are on the CPU."""
        by_layer = self._deriver.run(tokens, mask)[self._dst]
        return {
            layer or 0: flattened_lower_triangle(values) if self._is_plane else values
            for layer, values in by_layer.items()
        }
