"""Activations for collating: one derived scalar of a model."""

import dataclasses
from collections.abc import Sequence

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import BatchDeriver
from neuron_explainer.activations.derived_scalars.engine.prompts import token_strings_of
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.collation.corpus.windows import Batch
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind, flattened_lower_triangle
from neuron_explainer.errors import InvalidRequestError, NonFiniteActivationError, choices_sentence, nearest_first
from neuron_explainer.models.layers.dense_by_layer import DenseByLayer
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import checked_layer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension

_TOKENS = Dimension.SEQUENCE_TOKENS
_AXES_BEFORE_COMPONENTS = {
    (_TOKENS,): EntryKind.TOKENS,
    (Dimension.SEQUENCE_TOKEN_PAIRS,): EntryKind.TOKEN_PAIRS,
    (_TOKENS, Dimension.ATTENDED_TO_SEQUENCE_TOKENS): EntryKind.TOKEN_PAIRS,
}


def entry_kind_of(dst: DerivedScalarType) -> EntryKind:
    """Whether a scalar has one number for each token or for each token pair.

    Raises:
        InvalidRequestError: it has neither, so it cannot be collated.
    """
    before = tuple(dst.shape_spec_per_token_sequence[:-1])
    if before not in _AXES_BEFORE_COMPONENTS:
        axes = ", ".join(axis.value for axis in dst.shape_spec_per_token_sequence)
        choices = [
            other.value
            for other in DerivedScalarType
            if other.shape_spec_per_token_sequence[:-1] in _AXES_BEFORE_COMPONENTS
        ]
        raise InvalidRequestError(
            f"{dst.value} cannot be collated: its axes are ({axes}). A component must have one number for each token "
            f"or token pair. {choices_sentence(nearest_first(dst.value, choices))}"
        )
    return _AXES_BEFORE_COMPONENTS[before]


def layers_of(dst: DerivedScalarType, asked: Sequence[int] | None, n_layers: int) -> list[int]:
    """The layers to cover; a scalar without layers is stored as layer 0.

    Raises:
        InvalidRequestError: the model does not have one of the layers.
    """
    if asked is None:
        return [0] if dst.has_no_layers else list(range(n_layers))
    if dst.has_no_layers and any(layer != 0 for layer in asked):
        raise InvalidRequestError(f"{dst.value} has no layers. Leave layers out, or use layers=0.")
    return sorted(checked_layer(layer, n_layers, dst.value) for layer in asked)


class ScalarSource:
    """Runs a model over batches; gives a derived scalar by layer, on the model's device. It is a `RunModel`."""

    def __init__(
        self,
        model_context: ModelContext,
        dst: DerivedScalarType,
        layers: Sequence[int],
        config: DstConfig | None = None,
        loss: LossFnConfig | LossFunction | None = None,
    ) -> None:
        """Plan which activations to record.

        Args:
            model_context: the model.
            dst: the scalar; see `entry_kind_of`.
            layers: as `layers_of` gives them.
            config, loss: as CollatedModel has them.

        Raises:
            InvalidRequestError: the scalar needs a loss or an autoencoder that is not given.
        """
        self._model_context = model_context
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
        if self._is_plane:
            return {layer or 0: flattened_lower_triangle(values) for layer, values in by_layer.items()}
        return DenseByLayer({layer or 0: values for layer, values in by_layer.kept()})

    def add_batch(self, collation: Collation, batch: Batch) -> None:
        """Run a batch and add its activations to a collation.

        Raises:
            NonFiniteActivationError: an activation is infinite or not a number. It says where such numbers come from.
            InvalidRequestError: a layer lacks one of the collation's components.
        """
        try:
            collation.add_batch(batch, self)
        except NonFiniteActivationError as error:
            row = batch.sequence_index.tolist().index(error.sequence_index)
            token_ids = batch.tokens[row, : batch.lengths[row]].tolist()
            raise NonFiniteActivationError(
                error.layer,
                error.component,
                error.sequence_index,
                error.entry,
                error.value,
                text="".join(token_strings_of(self._model_context, token_ids)),
                where_first=self.where_non_finite(token_ids),
            ) from None

    def where_non_finite(self, token_ids: Sequence[int]) -> str:
        """Where a sequence's numbers that are infinite or NaN appear first, and what to do, in words."""
        return self._deriver.where_non_finite(token_ids)
