"""Whether heads copy: the eigenvalues of their OV circuits, over the whole vocabulary.

A head's OV circuit maps a token that is attended to, to logits: a matrix of the vocabulary squared, of rank d_head at
most. Its eigenvalues that are not 0 are those of a d_head × d_head matrix. The score is their sum over the sum of their
absolute values (Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021). Logits are taken minus
their mean over the vocabulary. What is the same for all tokens attended to (biases of the norm and of values) has no
part in the score then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.attribution.single_nodes.directions import back_through_norm
from neuron_explainer.components.finite_weights import check_finite_rows
from neuron_explainer.components.heads.weights import value_rows, written_rows
from neuron_explainer.components.held import held
from neuron_explainer.components.vocabulary.embedding_rows import ROWS_AT_ONCE, embedding_blocks
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.norms import Norm, at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import stop_if_asked

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component


def copying_of_head(component: Component) -> float:
    """See `Component.copying_score`."""
    if component.kind is not NodeKind.HEAD:
        raise InvalidRequestError(f"{component.name} is {component.kind.meaning}. Only heads have a copying score.")
    scores = copying_of_layer(component.transformer("copying_score"), component.layer)
    return float(scores[component.index])


def copying_scores(model: Transformer) -> Float[Tensor, "layers heads"]:
    """The score of every head, float64 on the CPU; NaN of a head that writes nothing.

    Raises:
        StoppedError: the work is to stop.
        NonFiniteTensorError: a head's circuit is infinite or NaN.
    """
    scores = []
    for layer in range(model.config.n_layers):
        stop_if_asked()
        scores.append(copying_of_layer(model, layer))
    return torch.stack(scores)


def copying_of_layer(model: Transformer, layer: int) -> Float[Tensor, " heads"]:
    """The scores of a layer's heads."""

    def make() -> Tensor:
        block = model.blocks[layer]
        through_vocabulary = _vocabulary_product(model, block.attention_norm)
        read, written = value_rows(block), written_rows(block)
        circuits = written.double() @ through_vocabulary @ read.double().mT
        check_finite_rows(circuits, layer, "H", "copies")
        eigenvalues = torch.linalg.eigvals(circuits.cpu())
        return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)

    return held(model, ("copying", layer), make)


def _vocabulary_product(model: Transformer, norm: Norm) -> Float[Tensor, "d_model d_model"]:
    """The sum over tokens of what a token's logit reads, times the token's normed embedding; float64.

    The norm's gain is not in it, so that one product serves the layers whose norms are of one kind.
    """

    def make() -> Tensor:
        size, device = model.config.d_model, model.device
        product = torch.zeros(size, size, dtype=torch.float64, device=device)
        sum_read = torch.zeros(size, dtype=torch.float64, device=device)
        sum_embedded = torch.zeros_like(sum_read)
        n_tokens = 0
        unembedding = model.unembedding_weight.split(ROWS_AT_ONCE)
        for rows, outputs in zip(embedding_blocks(model), unembedding, strict=True):
            embedded = norm.without_gain(rows, norm.scale(rows))
            read = back_through_norm(at_least_float32(outputs), model.final_norm)
            product += read.T @ embedded
            sum_read += read.sum(0, dtype=torch.float64)
            sum_embedded += embedded.sum(0, dtype=torch.float64)
            n_tokens += len(rows)
        return product - torch.outer(sum_read, sum_embedded) / n_tokens

    return held(model, ("vocabulary product", type(norm).__name__, norm.epsilon), make)
