"""How far results of a precision may be apart that are computed in other ways."""

import torch

_BY_DTYPE = {torch.float64: 1e-9, torch.float32: 2e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
"""As a share of what is at the token, after all layers. Rounding grows from layer to layer, and with the largest number
of a sum; faults of a formula are far above it in float64, and mostly in float32."""


def allowed_in(dtype: torch.dtype) -> float:
    """How large a relative difference may be."""
    return _BY_DTYPE[dtype]


_BESIDE_IN_FLOAT64 = 1e-4
"""In float64, `transformers` rounds norms, rotations and softmax to float32 on the way."""


def allowed_beside(dtype: torch.dtype) -> float:
    """How large a relative difference from a reference may be."""
    return _BESIDE_IN_FLOAT64 if dtype == torch.float64 else allowed_in(dtype)
