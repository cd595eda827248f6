"""From the arguments of a viewer to the source of its records."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from neuron_explainer.activation_server.dataset_paths import dataset_text
from neuron_explainer.activation_server.neuron_datasets import EMBEDDED_SHORT_NAME
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.components.asking import is_dataset
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, shown
from neuron_explainer.storage.local import is_local_file, is_local_folder
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.live_model import LiveModel
from neuron_explainer.widgets.neurons.model_source import ModelSource
from neuron_explainer.widgets.neurons.sources import DatasetSource, RecordSource

if TYPE_CHECKING:
    from neuron_explainer.attribution.question.settings import AutoencodersGiven


def source_of(
    dataset: Any,
    dst: DerivedScalarType | str | None,
    texts: object,
    load: Callable[[NeuronChoice], NeuronRecord] | None,
    prepend_bos: bool | None = None,
    *,
    model: Any = None,
    autoencoders: "AutoencodersGiven" = None,
    explanations: str | os.PathLike[str] | None = None,
) -> RecordSource:
    """The source of a viewer's records, for the arguments of NeuronViewer.

    Raises:
        InvalidRequestError: `texts` are given with a dataset, or `load` with a model; `dataset` is neither; `model` is
            not a model; two models are given; or `load` is not a function.
        NotAtHandError: autoencoders are given without a model.
        UnknownDatasetError, UnknownNameError: as DatasetSource and ModelSource.
    """
    if load is not None and not callable(load):
        raise InvalidRequestError(f"load is {shown(load)}. Give a function from a NeuronChoice to a NeuronRecord.")
    is_model = dataset is None and model is not None
    if dataset is None:
        dataset, model = (model if is_model else EMBEDDED_SHORT_NAME), None
    elif not _is_dataset(dataset):
        is_model = True
    if not is_model:
        if texts:
            raise InvalidRequestError("texts are for a model, not for a dataset. Write a text in the viewer instead.")
        if autoencoders is not None and model is None:
            raise NotAtHandError("autoencoders=", "model", "a model", "pass model=")
        if model is not None and not (isinstance(model, str | os.PathLike) or _is_model(model)):
            raise InvalidRequestError(f"model is {shown(model)}. Give a model, a DstConfig, or the name of a model.")
        live = None if model is None else LiveModel(model, autoencoders, prepend_bos)
        return DatasetSource(dataset, dst, load, live, explanations, prepend_bos)
    if model is not None:
        raise InvalidRequestError(f"{shown(dataset, 200)} is a model, and model= gives another. Give one.")
    if load is not None:
        raise InvalidRequestError("load is for a dataset, not for a model, which computes its records.")
    if explanations is not None:
        raise InvalidRequestError("explanations are for a dataset, not for a model.")
    return ModelSource(LiveModel(dataset, autoencoders, prepend_bos), dst)


def _is_model(given: Any) -> bool:
    """Whether it is a model or its config; a check of its class would import torch."""
    return hasattr(given, "model_name") or hasattr(given, "get_model_context")


def _is_dataset(given: Any) -> bool:
    """Whether a dataset is meant, not a model; what is neither is taken for a dataset, which is then unknown.

    Raises:
        InvalidRequestError: it can be neither.
    """
    if not isinstance(given, str | os.PathLike):
        if _is_model(given):
            return False
        raise InvalidRequestError(f"{shown(given, 200)} is not a dataset's name, address or folder, or a model.")
    if is_dataset(given):
        return True
    text = dataset_text(given)
    if is_local_file(text) or is_local_folder(text):
        return False
    from neuron_explainer.models.model_registry import find_registered_model

    return find_registered_model(text) is None
