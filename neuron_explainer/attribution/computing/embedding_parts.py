"""Direct effects of the embedding: of the tokens themselves, and of learned positions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.evaluation import Deriver
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import Activation, Given
from neuron_explainer.attribution.computing.replaced import Replaced, ReplacedAt
from neuron_explainer.attribution.computing.rows import ROWS, Rows
from neuron_explainer.attribution.computing.standing import embedding_stands
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.vocabulary.places import ActivationLocationType

_EMBEDDING = ActivationLocationType.RESID_POST_EMBEDDING


@dataclass(frozen=True)
class EmbeddingParts:
    """Direct effects at the rows: of the tokens' embeddings, and of learned positions (None: the model learns none)."""

    tokens: Float[Tensor, "batch rows"]
    positions: Float[Tensor, "batch rows"] | None

    @property
    def whole(self) -> Float[Tensor, "batch rows"]:
        """Of tokens and positions together."""
        return self.tokens if self.positions is None else self.tokens + self.positions


def embedding_parts(
    rows: Rows, embedded: Float[Tensor, "batch tokens d_model"], replaced: Replaced, learned: Tensor | None
) -> EmbeddingParts:
    """What was embedded at the rows, projected on the directions."""
    whole = (rows.of(embedded) * rows.directions).sum(-1)
    if learned is None:
        return EmbeddingParts(whole, None)
    of_positions = (at_least_float32(learned[rows.positions]) * rows.directions).sum(-1)
    of_positions = torch.where(replaced.at(rows.positions), torch.zeros_like(whole), of_positions)
    return EmbeddingParts(whole - of_positions, of_positions)


EMBEDDING_PARTS = Deriver(
    embedding_parts,
    {
        "rows": ROWS,
        "embedded": Activation(_EMBEDDING),
        "replaced": ReplacedAt(_EMBEDDING),
        "learned": Given(lambda bound, layer: bound.model.position_embedding),
    },
    embedding_stands,
)
