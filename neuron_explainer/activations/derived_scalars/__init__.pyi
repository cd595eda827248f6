from .config import DstConfig
from .derivation import BatchDeriver, derive, derive_batch
from .derived_scalar_types import DerivedScalarType
from .indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    AttnSubNodeIndex,
    DerivedScalarIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from .loss import LossFnConfig, LossFnName
from .store.derived_scalar_store import DerivedScalarStore
from .tensor_ablations import TensorAblation

__all__ = [
    "AblationSpec",
    "ActivationIndex",
    "AttentionTraceType",
    "AttnSubNodeIndex",
    "BatchDeriver",
    "DerivedScalarIndex",
    "DerivedScalarStore",
    "DerivedScalarType",
    "DstConfig",
    "LossFnConfig",
    "LossFnName",
    "NodeIndex",
    "PreOrPostAct",
    "TensorAblation",
    "TraceConfig",
    "derive",
    "derive_batch",
]
