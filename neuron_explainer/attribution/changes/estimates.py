"""What an ablation of a node would change, to first order: (activation − replacement) times the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from neuron_explainer.activations.derived_scalars.derivation import derive_on_the_way
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, DerivedScalarIndex, NodeIndex
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation
from neuron_explainer.attribution.computing.passes import LATENTS
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType, PassType

_DST = DerivedScalarType
_ACTIVATION = {
    NodeType.ATTENTION_HEAD: _DST.ATTN_QK_PROBS,
    NodeType.MLP_NEURON: _DST.MLP_POST_ACT,
    NodeType.TOKEN: _DST.RESID_POST_EMBEDDING,
    **{kind: latents for kind, (latents, _) in LATENTS.items()},
}


def estimates_of(
    why: AttributionTables, number: int, nodes: Sequence[NodeIndex], ablations: Sequence[Ablation]
) -> list[float]:
    """The estimate of each node's ablation, in one pass."""
    setting, effects = why.asked_setting, why.effects[number]
    model = setting.config.get_or_create_model()
    store = derive_on_the_way(
        effects.prompt.token_ids,
        sorted({_ACTIVATION[node.node_type] for node in nodes}),
        replace(setting.config, derive_gradients=True),
        loss=why.inquiry.objective(model, [number]),  # type: ignore[arg-type]
        ablations=setting.ablations,
    )
    return [_estimate(store, node, _replacement(ablation)) for node, ablation in zip(nodes, ablations, strict=True)]


def _estimate(store: DerivedScalarStore, node: NodeIndex, replacement: float | Tensor) -> float:
    dst = _ACTIVATION[node.node_type]
    indices = node.tensor_indices if node.node_type is not NodeType.TOKEN else (node.tensor_indices[0], "All")
    index = DerivedScalarIndex(dst, node.layer_index, indices)
    activation = store[index].double()
    gradient = store[replace(index, pass_type=PassType.BACKWARD)].double()
    given = replacement if isinstance(replacement, float) else replacement.to(activation)
    return float(((activation - given) * gradient).sum())


def _replacement(ablation: Ablation) -> float | Tensor:
    """What an ablation writes at the one node that it names."""
    return float(ablation.value) if isinstance(ablation, AblationSpec) else ablation.values
