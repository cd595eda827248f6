"""The source of a picker, and what it shows first, from what its constructor is given."""

import os
from typing import TYPE_CHECKING, Any, cast

from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven
from neuron_explainer.components.asking import is_dataset
from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.model_source import ModelSource
from neuron_explainer.widgets.neurons.sources import DatasetSource, RecordSource
from neuron_explainer.widgets.picking.entries import choice_of_node, choice_of_text, nearest_choice

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext


def source_given(
    source: "str | os.PathLike[str] | ModelContext | RecordSource", dst: DerivedScalarType | str | None
) -> RecordSource:
    """What a picker chooses from. A RecordSource, as viewers have, stays itself.

    Raises:
        UnknownDatasetError: a text is neither a dataset's nor a model's name.
        InvalidRequestError: it is nothing of this kind.
    """
    if isinstance(source, str | os.PathLike):
        if not is_dataset(source) and (model := _model_named(source)) is not None:
            return ModelSource(model, dst)
        return DatasetSource(source, dst)
    if hasattr(source, "first_choice"):
        return cast(RecordSource, source)
    if not hasattr(source, "model_name"):  # a check of its class would import torch
        raise InvalidRequestError(f"{shown(source, 200)} is not a dataset's name, address or folder, or a model.")
    return ModelSource(source, dst)


def first_choice_of(
    source: RecordSource, node: "NodeGiven | NeuronChoice | None", dst: DerivedScalarType | str | None
) -> NeuronChoice:
    """What a picker shows first.

    Raises:
        NodeNameError: a text is not the name of a node.
        InvalidRequestError: the dataset or model has no such component.
    """
    if isinstance(node, NeuronChoice):
        return nearest_choice(source, node)
    dataset, first_type = source.first_choice()
    first = nearest_choice(source, NeuronChoice(dataset, first_type, 0, 0))
    if node is None:
        return first
    found = choice_of_text(source, first, node) if isinstance(node, str) else choice_of_node(source, first, node)
    if dst is not None and found.dst is not first_type:
        raise InvalidRequestError(
            f"{shown(node)} is not a component of {first_type.value}. Give one that is, or another dst."
        )
    return found


def _model_named(name: Any) -> "ModelContext | None":
    from neuron_explainer.models.checkpoints.load_model import load_model

    try:
        return load_model(name)
    except UnknownNameError:
        return None
