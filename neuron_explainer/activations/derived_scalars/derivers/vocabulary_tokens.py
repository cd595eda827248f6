"""The activation of a neuron or latent if each vocabulary token's embedding alone were its residual stream."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig, required_layer
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import derives
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex, PreOrPostAct
from neuron_explainer.errors import InvalidRequestError, MissingSettingError
from neuron_explainer.models.layers.embedding_scale import scaled_embedding
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_NEURONS = (_PLACE.MLP_PRE_ACT, _PLACE.MLP_POST_ACT)
_LATENTS = (
    _PLACE.ONLINE_AUTOENCODER_LATENT,
    _PLACE.ONLINE_MLP_AUTOENCODER_LATENT,
    _PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT,
)


def fake_grad_index(bound: BoundConfig) -> ActivationIndex:
    """The neuron or latent that the vocabulary is fed to.

    Raises:
        MissingSettingError: the configuration does not name it.
        InvalidRequestError: the index is of something else, or of all neurons or latents.
    """
    index = bound.config.activation_index_for_fake_grad
    if index is None:
        raise MissingSettingError("activation_index_for_fake_grad", "the neuron or latent that reads the embeddings")
    if index.activation_location_type not in (*_NEURONS, *_LATENTS) or not isinstance(index.tensor_indices[-1], int):
        raise InvalidRequestError(
            f"activation_index_for_fake_grad must name one neuron or latent, not {index}. Choose a place among: "
            f"{', '.join((*_NEURONS, *_LATENTS))}."
        )
    return index


@dataclass(frozen=True)
class VocabularyActivations(Need):
    """The component before its nonlinearity, for every token's embedding (without a position embedding)."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """Nothing: no pass is needed."""
        fake_grad_index(bound)
        return iter(())

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens vocab"]:
        """The same row for every token of the prompt, as a view of one row."""
        bound = evaluation.bound
        index = fake_grad_index(bound)
        component, node_layer = index.tensor_indices[-1], required_layer(index.layer_index)
        which = slice(component, component + 1)  # type: ignore[operator]  # checked to be an int
        embedding = scaled_embedding(bound.model.embedding, bound.model.config).unsqueeze(1)
        if index.activation_location_type in _NEURONS:
            acts = recompute.neurons(bound.block(node_layer), embedding, False, PreOrPostAct.PRE)[..., which]
        else:
            kind = index.activation_location_type.autoencoder_node_type or NodeType.AUTOENCODER_LATENT
            acts = recompute.latents(bound, kind, node_layer, embedding, False, PreOrPostAct.PRE, which)
        return acts[:, 0, 0].expand(evaluation.n_prompts, evaluation.n_tokens, -1)


@derives(DerivedScalarType.VOCAB_TOKEN_WRITE_TO_INPUT_DIRECTION, activations=VocabularyActivations())
def vocabulary_write(activations: Float[Tensor, "batch tokens vocab"]) -> Float[Tensor, "batch tokens vocab"]:
    """The component before its nonlinearity, for every token of the vocabulary."""
    return activations
