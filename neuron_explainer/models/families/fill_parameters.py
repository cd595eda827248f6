"""Giving a transformer its weights, from tensors in memory or one by one from anywhere."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuron_explainer.errors import TensorShapeError, UnexpectedTensorError
from neuron_explainer.models.families.family import Family, TensorSource
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer_config import TransformerConfig


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

    Each tensor is looked up once, moved and cast where that is asked (else it is used as it is, its memory shared), and
    given to every parameter that comes from it. So a mapping that reads from a file when asked streams: besides the
    parameters no more than one tensor is in memory.

    Args:
        model: a `Transformer` whose parameters are unfilled.
        family: says which tensor becomes which parameter.
        config: the model's.
        tensors: by the names of a Hugging Face checkpoint, with or without the base model's prefix.
        device: where the parameters are to be; None leaves each tensor where it is.
        dtype: what they are to be; None leaves each tensor's.

    Raises:
        MissingTensorError: a tensor is not there.
        UnexpectedTensorError: there is one that belongs to no parameter and that the family does not ignore.
        TensorShapeError: a tensor has not the shape that the config asks for.
    """
    names = set(tensors.keys())
    by_source: dict[str, list[tuple[str, TensorSource]]] = {}
    for parameter_name, source in family.sources(config).items():
        by_source.setdefault(family.find(source.name, names), []).append((parameter_name, source))
    extra = sorted(name for name in names - by_source.keys() if not family.is_ignored(name, config))
    if extra:
        raise UnexpectedTensorError(
            f"{len(extra)} tensors have no place in a {family.model_type} model of {config.n_layers} layers: "
            f"{', '.join(extra[:5])}{', …' if len(extra) > 5 else ''}. The config may belong to another checkpoint.",
            tensor=extra[0],
        )
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for source_name, uses in by_source.items():
        tensor = tensors[source_name].detach().to(device=device, dtype=dtype)
        for parameter_name, source in uses:
            converted = _converted(source, tensor, source_name)
            if converted.shape != shapes[parameter_name]:
                raise TensorShapeError(
                    f"{source_name} has shape {tuple(tensor.shape)}, which makes {parameter_name} "
                    f"{tuple(converted.shape)}; the config asks for {tuple(shapes[parameter_name])}.",
                    tensor=source_name,
                )
            fill(model, parameter_name, converted)


def _converted(source: TensorSource, tensor: Tensor, name: str) -> Tensor:
    try:
        return source.convert(tensor)
    except (RuntimeError, ValueError, IndexError) as error:
        raise TensorShapeError(
            f"{name} of shape {tuple(tensor.shape)} cannot be made into a parameter: {error}", tensor=name
        ) from error
