"""What llama.cpp's converter does to experts: one tensor for a matrix of all experts of a layer."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


def entries_of(config: Any) -> Iterator[tuple[str, Any]]:
    """The entries about experts."""
    n_experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if n_experts:
        yield "expert_count", n_experts
        yield "expert_used_count", config.num_experts_per_tok
    if config.model_type in ("qwen3_moe", "gpt_oss"):
        yield "expert_feed_forward_length", getattr(config, "moe_intermediate_size", config.intermediate_size)


def with_a_tensor_for_each_matrix(state: Mapping[str, torch.Tensor], config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights by names that the `gguf` package maps: gates and up matrices apart, rows for outputs."""
    for name, weight in state.items():
        if name.endswith(".sinks"):
            yield f"{name}.weight", weight
        elif ".experts." not in name:
            yield name, weight
        else:
            path, kind = (name.removesuffix("_bias"), "bias") if name.endswith("_bias") else (name, "weight")
            takes_turns = config.model_type == "gpt_oss"
            by_row = weight.mT if takes_turns and kind == "weight" else weight
            if path.endswith("down_proj"):
                yield f"{path}.{kind}", by_row
            else:
                parts = (by_row[:, ::2], by_row[:, 1::2]) if takes_turns else by_row.chunk(2, dim=1)
                for theirs, part in zip(("gate_proj", "up_proj"), parts, strict=True):
                    yield f"{path.replace('gate_up_proj', theirs)}.{kind}", part


def as_older_files(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with a tensor for each expert."""
    older: dict[str, np.ndarray] = {}
    for name, rows in tensors.items():
        apart = {name.replace("_exps", f".{expert}"): each for expert, each in enumerate(rows)}
        older |= apart if "_exps" in name else {name: rows}
    return older


def with_gates_and_ups_together(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with one tensor for gates and up matrices, as the converter's --fuse-gate-up-exps writes it."""
    together = {name: rows for name, rows in tensors.items() if not re.search(r"ffn_(gate|up)_exps", name)}
    for name, gates in tensors.items():
        if "ffn_gate_exps" in name:
            ups = tensors[name.replace("gate", "up")]
            together[name.replace("gate", "gate_up")] = np.concatenate([gates, ups], axis=1)
    return together
