"""Qwen 2 and 3: like Llama, with biases of queries, keys and values, or with norms of queries and keys."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.models.families.family import required
from neuron_explainer.models.families.llama import LlamaFamily, windows_by_layer
from neuron_explainer.models.families.read_entries import with_defaults

_NOT_USED_WITHOUT_WINDOWS = frozenset({"sliding_window", "max_window_layers"})


def _windows(hf_config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Qwen's rule: if `use_sliding_window` is set, the layers from `max_window_layers` on have a window."""
    n_layers = required(hf_config, "num_hidden_layers")
    if not hf_config.get("use_sliding_window", False):
        return (None,) * n_layers
    first = hf_config.get("max_window_layers", 28)
    return windows_by_layer(
        with_defaults(hf_config, {"sliding_window": 4096}), [layer >= first for layer in range(n_layers)]
    )


class Qwen2Family(LlamaFamily):
    """Qwen 2 and 2.5."""

    model_type = "qwen2"
    harmless_entries = _NOT_USED_WITHOUT_WINDOWS

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {"sliding_window_by_layer": _windows(hf_config), "qkv_bias": True, "attention_output_bias": False}


class Qwen3Family(LlamaFamily):
    """Qwen 3: the queries and keys of each head are normalised."""

    model_type = "qwen3"
    harmless_entries = _NOT_USED_WITHOUT_WINDOWS
    default_d_head = 128

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {"sliding_window_by_layer": _windows(hf_config), "query_key_norm": "rms_by_head"}
