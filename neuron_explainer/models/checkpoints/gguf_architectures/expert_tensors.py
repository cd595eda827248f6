"""The tensors of experts: one for each expert, or, in newer files, one for all experts of a layer."""

import re
from collections.abc import Mapping
from dataclasses import replace

from neuron_explainer.errors import MalformedCheckpointError, MissingTensorError
from neuron_explainer.models.checkpoints.gguf_architectures.weights import UNCHANGED, Conversion, rows
from neuron_explainer.models.families.family import TensorSource
from neuron_explainer.models.tensor_files.gguf_file import GgufFile, GgufTensor
from neuron_explainer.models.transformer_config import TransformerConfig

_OF_ALL_EXPERTS = re.compile(r"blk\.\d+\.ffn_(?:gate|up|down|gate_up)_exps\.(?:weight|bias)")
_OF_ONE_EXPERT = re.compile(r"mlp\.experts\.(\d+)\.(input|up|output)_(weight|bias)")
_MATRICES = {"input": "ffn_gate", "up": "ffn_up", "output": "ffn_down"}


def with_experts_apart(file: GgufFile, config: TransformerConfig) -> GgufFile:
    """The file, with a tensor for each expert in place of each tensor of all experts.

    An expert's numbers are stored in one piece, so it can be read without the others.

    Args:
        file: the file.
        config: the model's config.

    Raises:
        MissingTensorError: a layer has no router: its MLP is not made of experts.
        MalformedCheckpointError: a tensor has another number of experts than the config.
    """
    for layer in range(config.n_layers if config.n_experts else 0):
        router = f"blk.{layer}.ffn_gate_inp.weight"
        if router not in file.tensors:
            raise MissingTensorError(
                f"Layer {layer} has no tensor {router!r}, the router of its experts. Every layer of a "
                f"{config.model_type} model needs one.",
                tensor=router,
            )
        _check_n_experts(file, router, config.n_experts)
    tensors: dict[str, GgufTensor] = {}
    for name, tensor in file.tensors.items():
        if config.n_experts and _OF_ALL_EXPERTS.fullmatch(name):
            _check_n_experts(file, name, config.n_experts)
            tensors |= {_part(name, expert): tensor.part(file.path, name, expert) for expert in range(config.n_experts)}
        else:
            tensors[name] = tensor
    return replace(file, tensors=tensors)


def expert_tensor(prefix: str, ours: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, Conversion] | None:
    """The tensor of a parameter of an expert, and the conversion; None for other parameters.

    Args:
        prefix: how the names of the layer's tensors begin.
        ours: the parameter's name within the layer.
        shapes: the shapes of the file's tensors, with experts apart.
    """
    matched = _OF_ONE_EXPERT.fullmatch(ours)
    if matched is None:
        return None
    expert, matrix, kind = int(matched[1]), _MATRICES[matched[2]], matched[3]
    fused = _part(f"{prefix}ffn_gate_up_exps.{kind}", expert)
    if fused in shapes and matrix != "ffn_down":
        n_rows, middle = shapes[fused][0], shapes[fused][0] // 2
        return fused, rows(0, middle) if matrix == "ffn_gate" else rows(middle, n_rows)
    older, newer = f"{prefix}{matrix}.{expert}.{kind}", _part(f"{prefix}{matrix}_exps.{kind}", expert)
    return older if older in shapes else newer, UNCHANGED


def source_of_its_own(ours: str, source: TensorSource) -> TensorSource:
    """The source of a parameter; of an expert's, the one in which the expert has a tensor of its own."""
    matched = _OF_ONE_EXPERT.fullmatch(ours)
    while matched is not None and f".experts.{matched[1]}." not in source.name and source.otherwise is not None:
        source = source.otherwise
    return source


def _part(name: str, expert: int) -> str:
    return f"{name}[{expert}]"


def _check_n_experts(file: GgufFile, name: str, n_experts: int) -> None:
    shape = file.tensors[name].shape
    if len(shape) < 2 or shape[0] != n_experts:
        raise MalformedCheckpointError(
            f"Tensor {name!r} has shape {list(shape)}; the first axis must be that of {n_experts} experts.", tensor=name
        )
