"""Indices, traces and ablations, at their path in Transformer Debugger. Their modules stand beside this one."""

from neuron_explainer.activations.derived_scalars.ablations import AblationSpec
from neuron_explainer.activations.derived_scalars.indices import (
    DIMENSIONS_BY_NODE_TYPE,
    ActivationIndex,
    AttnSubNodeIndex,
    DerivedScalarIndex,
    NodeIndex,
)
from neuron_explainer.activations.derived_scalars.trace_config import AttentionTraceType, PreOrPostAct, TraceConfig

__all__ = [
    "DIMENSIONS_BY_NODE_TYPE",
    "AblationSpec",
    "ActivationIndex",
    "AttentionTraceType",
    "AttnSubNodeIndex",
    "DerivedScalarIndex",
    "NodeIndex",
    "PreOrPostAct",
    "TraceConfig",
]
