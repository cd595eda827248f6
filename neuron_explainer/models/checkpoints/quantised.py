"""Recognising checkpoints whose weights are quantised, by their config and by their tensors.

The methods store weights as small numbers with scales beside them, each in its own way:

- bitsandbytes: https://huggingface.co/docs/transformers/quantization/bitsandbytes
- GPTQ and AWQ: https://huggingface.co/docs/transformers/quantization/gptq and …/awq
- fp8: https://huggingface.co/docs/transformers/quantization/finegrained_fp8
- MXFP4, which is read where gpt_oss has it: `tensor_files/mxfp4.py`
- compressed-tensors: https://huggingface.co/docs/transformers/quantization/compressed_tensors
"""

from collections.abc import Collection, Mapping
from typing import Any

from neuron_explainer.errors import UnsupportedCheckpointError, shown

_ENTRIES = ("quantization_config", "compression_config", "quantization")  # the last is of MLX

# The end of a tensor's name, and the method that writes such tensors; the surest signs come first.
_METHOD_BY_SUFFIX = {
    ".SCB": "bitsandbytes, 8 bits",
    ".weight_format": "bitsandbytes, 8 bits",
    ".quant_map": "bitsandbytes, 4 bits",
    ".absmax": "bitsandbytes, 4 bits",
    ".g_idx": "GPTQ",
    ".qweight": "AWQ or GPTQ",
    ".qzeros": "AWQ or GPTQ",
    ".weight_packed": "compressed-tensors",
    ".weight_scale_inv": "fp8",
    ".weight_scale": "fp8 or compressed-tensors",
    ".weight._data": "quanto",
    ".codebooks": "AQLM",
    ".W_q": "HQQ",
    ".q_weight": "EXL2",
    ".trellis": "EXL3",
    "_blocks": "MXFP4",
}
_WHOLE_DTYPES = frozenset(f"{sign}{bits}" for sign in ("i", "u", "int", "uint") for bits in (4, 8, 16, 32))


def is_dequantised_here(hf_config: Mapping[str, Any]) -> bool:
    """Whether a config says that weights are quantised by a method that is read: MXFP4, of gpt_oss."""
    return hf_config.get("model_type") == "gpt_oss" and method_of_config(hf_config) == "mxfp4"


def refuse_quantised_config(hf_config: Mapping[str, Any], file: object) -> None:
    """Refuse a config that says that its weights are quantised.

    Args:
        hf_config: the entries of `config.json`.
        file: where it was found, for errors.

    Raises:
        UnsupportedCheckpointError: it says so.
    """
    method = method_of_config(hf_config)
    if method is not None:
        raise _refusal(f"{file} says that the weights are quantised ({method})", file, None)


def refuse_quantised_tensors(dtype_by_name: Mapping[str, str], hf_config: Mapping[str, Any], file: str) -> None:
    """Refuse tensors that are quantised weights.

    Args:
        dtype_by_name: the dtype of each tensor, as safetensors or torch names it.
        hf_config: the entries of `config.json`, which may name the method.
        file: where the tensors are, for errors.

    Raises:
        UnsupportedCheckpointError: a tensor's name or dtype is that of a quantised weight.
    """
    sign = _sign_in_names(dtype_by_name) or _sign_in_dtypes(dtype_by_name)
    if sign is not None:
        tensor, method = sign[0], method_of_config(hf_config) or sign[1]
        raise _refusal(f"{file}: tensor {shown(tensor)} is a quantised weight ({method})", file, tensor)


def method_of_config(hf_config: Mapping[str, Any]) -> str | None:
    """The method by which a config says that the weights are quantised; None if it does not say so."""
    settings = next((hf_config[entry] for entry in _ENTRIES if hf_config.get(entry)), None)
    if settings is None:
        return None
    if not isinstance(settings, Mapping):
        return "the method is not named"
    method = settings.get("quant_method") or settings.get("quantization_method")
    for bits in (4, 8):
        if settings.get(f"load_in_{bits}bit") is True or settings.get(f"_load_in_{bits}bit") is True:
            return f"{method or 'bitsandbytes'}, {bits} bits"
    if not isinstance(method, str):
        return "the method is not named"
    bits_named = settings.get("bits")
    cut = shown(method, 40)[1:-1]
    return f"{cut}, {bits_named} bits" if type(bits_named) is int and 0 < bits_named < 64 else cut


def _sign_in_names(names: Collection[str]) -> tuple[str, str] | None:
    for suffix, method in _METHOD_BY_SUFFIX.items():
        tensor = next((name for name in names if name.endswith(suffix)), None)
        if tensor is not None:
            return tensor, method
    return next(((name, "bitsandbytes, 4 bits") for name in names if ".quant_state." in name), None)


def _sign_in_dtypes(dtype_by_name: Mapping[str, str]) -> tuple[str, str] | None:
    for name, dtype in dtype_by_name.items():
        small = dtype.lower().removeprefix("torch.")
        if "e4m3" in small or "e5m2" in small:
            return name, "fp8"
        if ".weight" in name and small in _WHOLE_DTYPES:  # the number may be a part of the weight: weight:_data
            return name, f"whole numbers, {dtype}"
    return None


def _refusal(problem: str, file: object, tensor: str | None) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(
        f"{problem}, which is not supported. Load the model from its original weights or from a GGUF file; or load it "
        "with transformers, dequantise it there (such as with model.dequantize()), and pass the model itself to "
        "load_model.",
        file=file,
        tensor=tensor,
    )
