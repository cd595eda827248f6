"""Where activations come from: a model, and the derived scalar that is asked of it."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuron_explainer.activations.derived_scalars.derived_scalar_types import DerivedScalarType
from neuron_explainer.collate.entries import Entries, flattened_lower_triangle
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.model_component_registry import Dimension
from neuron_explainer.models.model_context import ModelContext

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


class RawActivations:
    """What one place of the forward pass holds, recorded straight from the model."""

    def __init__(self, model_context: ModelContext, dst: DerivedScalarType, layers: Sequence[int]) -> None:
        self._model = model_context.get_or_create_model()
        self._place = dst.to_activation_location_type()
        self._layers = list(layers)
        self._has_layers = not dst.has_no_layers
        self._is_plane = Dimension.ATTENDED_TO_SEQUENCE_TOKENS in dst.shape_spec_per_token_sequence

    def __call__(
        self, tokens: Int64[Tensor, "sequences tokens"], mask: Bool[Tensor, "sequences tokens"]
    ) -> dict[int, Float[Tensor, "sequences entries components"]]:
        """The activations of a batch, by layer; see `collation.RunModel`."""
        asked = [(self._place, self._layers if self._has_layers else None)]
        with self._model.record(asked) as recording:
            self._model(tokens.to(self._model.device), attention_mask=mask, logits_at=None)
        activations = {layer: recording[self._place, layer if self._has_layers else None] for layer in self._layers}
        recording.clear()
        if self._is_plane:
            return {layer: flattened_lower_triangle(values) for layer, values in activations.items()}
        return activations


def scalar_source(
    model_context: ModelContext,
    dst: DerivedScalarType,
    layers: Sequence[int],
    config: object = None,
    loss: object = None,
) -> RawActivations:
    """What runs the model over a batch and gives the scalar's values, by layer."""
    return RawActivations(model_context, dst, layers)
