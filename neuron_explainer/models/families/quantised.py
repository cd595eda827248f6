"""Quantised checkpoints: recognised by their config or their tensors' names, and refused with what to do."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError, shown

_METHOD_BY_NAME = {
    r".*\.(qweight|qzeros|g_idx)": "GPTQ or AWQ",
    r".*\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format)": "bitsandbytes",
    r".*\.quant_state\.bitsandbytes__.*": "bitsandbytes",
    r".*\.(weight_scale_inv|weight_scale|input_scale)": "fp8 or compressed-tensors",
    r".*\.(weight_packed|weight_shape|weight_zero_point)": "compressed-tensors",
    r".*\.(W_q|scales_and_zeros)": "HQQ or torchao",
}
"""Patterns of tensor names, and the quantisation methods that write them."""


def refuse_quantised(hf_config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a checkpoint whose weights are quantised.

    Args:
        hf_config: the config's entries; those of a `quantization_config` name the method.
        names: the tensors' names.

    Raises:
        UnsupportedCheckpointError: it is quantised; the error says by which method, and what to do.
    """
    settings = hf_config.get("quantization_config")
    method: str | None = None
    if isinstance(settings, Mapping):
        method = shown(settings.get("quant_method") or settings.get("quant_type") or "an unnamed method", 60)
    else:
        method = next(
            (
                found
                for name in names
                for pattern, found in _METHOD_BY_NAME.items()
                if isinstance(name, str) and re.fullmatch(pattern, name)
            ),
            None,
        )
    if method is not None:
        raise UnsupportedCheckpointError(
            f"The checkpoint is quantised ({method}). Weights are read as float32, bfloat16, float16 or float64, or "
            "from a GGUF file. Take the original checkpoint or a GGUF file, or load this one dequantised with "
            "transformers and give load_model the model."
        )
