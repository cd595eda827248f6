"""What one pass gives for a question: activations, total effects, and direct effects at the rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.attribution.computing.attention_parts import AttentionParts
from neuron_explainer.attribution.computing.embedding_parts import EmbeddingParts
from neuron_explainer.attribution.computing.latent_parts import LatentParts, LatentScale
from neuron_explainer.attribution.computing.mlp_parts import MlpParts
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor
from neuron_explainer.vocabulary.nodes import NodeType

PartsT = TypeVar("PartsT", AttentionParts, EmbeddingParts, LatentParts, MlpParts)


@dataclass(frozen=True)
class Effects:
    """What one pass gives. Direct effects have an axis for the rows: the positions that the metric reads.

    Attributes:
        prompt: the tokens of the pass.
        store: activations and total effects (activation times gradient) of every node.
        rows: the rows' positions.
        value: the metric, of the uncapped logits.
        linear_value: what the parts sum to: the metric, or the linearisation that stands for it.
        capped_value: the metric of the model's own logits; equal to `value` where these are not capped.
        directions: what a write at each row is projected on.
        constants: what biases after the last write add.
        embedding: of the embedding; None where an autoencoder stands for it.
        attention, mlp: of each layer's heads and neurons, where they stand.
        latents: of each autoencoder, by the kind of its latents and its layer.
        latent_scales: what multiplies the rows that each autoencoder's latents write.
        logits: the uncapped logits at the rows; None where the metric is not of logits.
        logits_softcap: the model's soft cap of its logits; None without one.
        final_scales: the final norm's scale at each token; None where the pass did not tell.
    """

    prompt: Prompt
    store: DerivedScalarStore
    rows: tuple[int, ...]
    value: float
    linear_value: float
    capped_value: float
    constants: dict[str, float]
    directions: Float[Tensor, "rows d_model"]
    embedding: EmbeddingParts | None
    attention: dict[int, AttentionParts] = field(default_factory=dict)
    mlp: dict[int, MlpParts] = field(default_factory=dict)
    latents: dict[tuple[NodeType, int], LatentParts] = field(default_factory=dict)
    latent_scales: dict[tuple[NodeType, int], LatentScale] = field(default_factory=dict)
    logits: Float[Tensor, "rows vocab"] | None = None
    logits_softcap: float | None = None
    final_scales: Float[Tensor, "tokens 1"] | None = None


def longest_prompt(several: Iterable[Effects]) -> Prompt:
    """The prompt with the most tokens: answers of several tokens have a pass each, which ends with the answer."""
    return max((effects.prompt for effects in several), key=lambda prompt: len(prompt.token_ids))


def parts_of_prompt(parts: PartsT, number: int, n_rows: int, n_tokens: int) -> PartsT:
    """One prompt's part of a batch's direct effects, without its padding, in memory of its own."""
    own: dict[str, Any] = {}
    for each in fields(parts):
        tensor = getattr(parts, each.name)
        if isinstance(tensor, RoutedTensor):
            own[each.name] = tensor[number, :n_rows].clone()
        elif isinstance(tensor, Tensor):
            cut = tensor[number, :n_rows, :n_tokens] if each.name == "by_pair" else tensor[number, :n_rows]
            own[each.name] = cut.clone()
    return replace(parts, **own)


def memory_of(tensors: Iterable[Neurons]) -> int:
    """How many bytes tensors keep in memory; what several share is counted once."""
    parts = [
        part
        for each in tensors
        for part in ((each.values, each.experts) if isinstance(each, RoutedTensor) else (each,))
    ]
    storages = [part.untyped_storage() for part in parts]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
