from .family import Family, TensorSource
from .registry import FAMILY_BY_MODEL_TYPE, family_of, register_family

__all__ = [
    "FAMILY_BY_MODEL_TYPE",
    "Family",
    "TensorSource",
    "family_of",
    "register_family",
]
