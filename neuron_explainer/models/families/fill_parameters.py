"""Filling the parameters of a transformer, from tensors in memory or read one by one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuron_explainer.errors import TensorShapeError, UnexpectedTensorError
from neuron_explainer.models.families.family import Family, TensorSource
from neuron_explainer.models.families.quantised import refuse_quantised
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.notices import CheckpointWarning, warn


def fill_parameters(
    model: nn.Module,
    family: Family,
    config: TransformerConfig,
    tensors: Mapping[str, Tensor],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Fill every parameter of a model from a checkpoint's tensors.

    Each tensor is looked up once, moved and cast if required (otherwise its memory is shared), and given to every
    parameter that comes from it. So a mapping that reads a tensor on look-up needs, beside the parameters, memory for
    only one tensor.

    Args:
        model: a `Transformer` whose parameters are unfilled.
        family: says which tensor becomes which parameter.
        config: the model's.
        tensors: by the names of a Hugging Face checkpoint, with or without the base model's prefix.
        device: where the parameters go; None leaves each tensor where it is.
        dtype: the parameters' dtype; None leaves each tensor as it is.

    Raises:
        MissingTensorError: a tensor is missing.
        UnexpectedTensorError: a tensor belongs to no parameter, and the family does not ignore it.
        TensorShapeError: a tensor does not have the config's shape.
    """
    names = set(tensors.keys())
    refuse_quantised({}, names)
    by_source: dict[str, list[tuple[str, TensorSource]]] = {}
    for parameter_name, source in family.sources(config).items():
        by_source.setdefault(family.find(source.name, names, config), []).append((parameter_name, source))
    extra = sorted(name for name in names - by_source.keys() if not family.is_ignored(name, config))
    if extra:
        raise UnexpectedTensorError(
            f"The checkpoint has tensors that do not belong to a {family.model_type} model with n_layers "
            f"{config.n_layers}: {', '.join(extra[:5])}{', …' if len(extra) > 5 else ''} ({len(extra)} in all). The "
            "config may be of another checkpoint.",
            tensor=extra[0],
        )
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for source_name, uses in by_source.items():
        tensor = tensors[source_name].detach().to(device=device, dtype=dtype)
        for parameter_name, source in uses:
            converted = _converted(source, tensor, source_name)
            if converted.shape != shapes[parameter_name]:
                raise TensorShapeError(
                    f"{source_name} has shape {tuple(tensor.shape)}, so {parameter_name} would have shape "
                    f"{tuple(converted.shape)}; by the config it must be {tuple(shapes[parameter_name])}.",
                    tensor=source_name,
                )
            fill(model, parameter_name, converted)


def tied_as_stored(
    hf_config: Mapping[str, Any], family: Family, config: TransformerConfig, tensors: Mapping[str, Tensor]
) -> Mapping[str, Any]:
    """The config of tensors that may contradict it: tied by the config, but with another unembedding in the file.

    The stored unembedding counts then, as in transformers 5, and a warning says so.
    """
    if not config.tied_unembedding:
        return hf_config
    embedding, unembedding = family.embedding_name(config, tensors), family.stored_unembedding(tensors)
    if embedding not in tensors or unembedding is None or unembedding == embedding:
        return hf_config
    first, second = tensors[embedding], tensors[unembedding]
    if first.is_meta or (first.shape == second.shape and bool(torch.equal(first, second.to(first)))):
        return hf_config
    warn(
        f"The config says that the unembedding is the embedding (tie_word_embeddings), but {unembedding} is another "
        "tensor. It is used, as transformers does.",
        CheckpointWarning,
    )
    return {**hf_config, "tie_word_embeddings": False}


def _converted(source: TensorSource, tensor: Tensor, name: str) -> Tensor:
    try:
        return source.convert(tensor)
    except (RuntimeError, ValueError, IndexError) as error:
        raise TensorShapeError(
            f"{name} has shape {tuple(tensor.shape)}, which cannot be converted: {error}", tensor=name
        ) from error
