"""Filling the parameters of a transformer, from tensors in memory or read one by one."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from neuron_explainer.errors import MissingTensorError, TensorShapeError, UnexpectedTensorError
from neuron_explainer.models.devices import differentiable
from neuron_explainer.models.families.family import Family, TensorSource
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer_config import TransformerConfig

UsesByTensor = dict[str, list[tuple[str, TensorSource]]]
"""For a checkpoint's tensor, the parameters that come from it."""


def uses_of_tensors(family: Family, config: TransformerConfig, available: Collection[str]) -> UsesByTensor:
    """Which tensors of a checkpoint become which parameters.

    This needs names alone. So a config that asks for more layers than the checkpoint has is refused before anything is
    made for them.

    Args:
        family: says which tensor becomes which parameter.
        config: the model's.
        available: the names of the checkpoint's tensors.

    Raises:
        MissingTensorError: a tensor is missing.
        UnexpectedTensorError: a tensor belongs to no parameter, and the family does not ignore it.
    """
    names = set(available)
    uses: UsesByTensor = {}
    for parameter_name, source in family.each_source(config):
        tied = parameter_name == "embedding" and config.tied_unembedding
        found, used = (family.find_tied(source.name, names), source) if tied else family.located(source, names)
        uses.setdefault(found, []).append((parameter_name, used))
    extra = sorted(name for name in names - uses.keys() if not family.is_ignored(name, config))
    if extra:
        raise UnexpectedTensorError(
            f"The checkpoint has tensors that do not belong to a {family.model_type} model with n_layers "
            f"{config.n_layers}: {', '.join(extra[:5])}{', …' if len(extra) > 5 else ''} ({len(extra)} in all). The "
            "config may be of another checkpoint.",
            tensor=extra[0],
        )
    return uses


def config_of_tensors(family: Family, config: TransformerConfig, tensors: Mapping[str, Tensor]) -> TransformerConfig:
    """The config, untied if the checkpoint has an unembedding that is not the embedding.

    As in `transformers` 5, the weights that are there count, and not what the config says about them.
    """
    if not config.tied_unembedding:
        return config
    names = set(tensors.keys())
    try:
        embedding = family.find(family.outer_sources(config)["embedding"].name, names)
        unembedding = family.find(family.unembedding_name, names)
    except (MissingTensorError, KeyError):
        return config
    if _are_equal(tensors[embedding], tensors[unembedding]):
        return config
    return replace(config, tied_unembedding=False)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.is_meta:  # without numbers, both shapes are to be checked
        return False
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other.to(one))


def fill_parameters(
    model: nn.Module,
    uses_by_tensor: UsesByTensor,
    tensors: Mapping[str, Tensor],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Fill every parameter of a model from a checkpoint's tensors.

    Each tensor is looked up once, moved and cast if required (otherwise its memory is shared, unless it was made in
    inference mode), and given to every parameter that comes from it. So a mapping that reads a tensor on look-up needs,
    beside the parameters, memory for only one tensor.

    Args:
        model: a `Transformer` whose parameters are unfilled.
        uses_by_tensor: the parameters that come from each tensor.
        tensors: by the names of a Hugging Face checkpoint, with or without the base model's prefix.
        device: where the parameters go; None leaves each tensor where it is.
        dtype: the parameters' dtype; None leaves each tensor as it is.

    Raises:
        TensorShapeError: a tensor does not have the config's shape.
    """
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for source_name, uses in uses_by_tensor.items():
        tensor = tensors[source_name].detach().to(device=device, dtype=dtype)
        for parameter_name, source in uses:
            converted = _converted(source, tensor, source_name)
            if converted.shape != shapes[parameter_name]:
                raise TensorShapeError(
                    f"{source_name} has shape {tuple(tensor.shape)}, so {parameter_name} would have shape "
                    f"{tuple(converted.shape)}; by the config it must be {tuple(shapes[parameter_name])}.",
                    tensor=source_name,
                )
            fill(model, parameter_name, differentiable(converted))


def _converted(source: TensorSource, tensor: Tensor, name: str) -> Tensor:
    try:
        return source.convert(tensor)
    except (RuntimeError, ValueError, IndexError) as error:
        raise TensorShapeError(
            f"{name} has shape {tuple(tensor.shape)}, which cannot be converted: {error}", tensor=name
        ) from error
