"""Where a viewer's records come from: registered datasets, or a model that computes them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

from neuron_explainer.activation_server.neuron_datasets import (
    EMBEDDED_SHORT_NAME,
    NeuronDatasetMetadata,
    get_all_neuron_dataset_metadata,
    get_neuron_dataset_metadata_by_short_name_and_dst,
)
from neuron_explainer.activations.activations import NeuronRecord, load_neuron
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError
from neuron_explainer.storage.locations import is_url
from neuron_explainer.views.record_page import component_kind
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext


@dataclass(frozen=True)
class Request:
    """What a viewer is asked to show."""

    dataset: str
    dst: DerivedScalarType
    layer: int
    neuron: int
    texts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"layer {self.layer}, {component_kind(self.dst)} {self.neuron} of {self.dataset}"


@dataclass(frozen=True)
class Size:
    """Which layers there are, and how many components a layer has; None where that is not known."""

    layers: Sequence[int] | None
    n_components: int | None

    def check(self, request: Request) -> None:
        """Refuse a place that is known not to be there.

        Raises:
            InvalidRequestError: the layer or the component lies outside, or is no whole number.
        """
        for name, index in (("layer", request.layer), ("neuron", request.neuron)):
            if not isinstance(index, Integral):
                raise InvalidRequestError(f"A {name} index is a whole number from 0 on, not {index!r}.")
        if request.layer < 0 or (self.layers is not None and request.layer not in self.layers):
            layers = "0 and up" if self.layers is None else ", ".join(map(str, self.layers))
            raise InvalidRequestError(f"{request.dataset} has the layers {layers}; not {request.layer}.")
        if request.neuron < 0 or (self.n_components is not None and request.neuron >= self.n_components):
            last = "" if self.n_components is None else f" to {self.n_components - 1}"
            raise InvalidRequestError(f"{request.dataset} has the indices 0{last} in a layer; not {request.neuron}.")

    def moved(self, request: Request, step: int) -> Request:
        """The place before (step -1) or after (step 1), on into the neighbouring layer; at an end, the same."""
        neuron = request.neuron + step
        if neuron >= 0 and (self.n_components is None or neuron < self.n_components):
            return replace(request, neuron=neuron)
        if self.layers is None or self.n_components is None or request.layer not in self.layers:
            return request
        place = self.layers.index(request.layer) + step
        if not 0 <= place < len(self.layers):
            return request
        return replace(request, layer=self.layers[place], neuron=0 if step > 0 else self.n_components - 1)


class Source(Protocol):
    """What a viewer needs to know of where records come from."""

    def first_choice(self) -> tuple[str, DerivedScalarType]:
        """What is shown first: a name, and what activations are of."""
        ...

    def datasets(self) -> list[str]:
        """The names to choose from."""
        ...

    def types(self, dataset: str) -> list[DerivedScalarType]:
        """What a dataset has activations of."""
        ...

    def size(self, dataset: str, dst: DerivedScalarType) -> Size:
        """How large it is."""
        ...

    def load(self, request: Request) -> NeuronRecord:
        """The record asked for; may take long, and raise whatever there is to raise."""
        ...

    def computes_texts(self, dataset: str) -> bool:
        """Whether `live_model` can compute activations on texts of one's own."""
        ...

    def live_model(self) -> "ModelContext":
        """The model that does so; loaded when first asked for."""
        ...


class DatasetSource:
    """Registered datasets, and one more by its address or folder.

    Args:
        dataset: a registered short name, an http(s) address or a folder.
        dst: what is wanted of it; None: the first that it has.
        load: how a record is loaded; None: `load_neuron`.

    Raises:
        UnknownDatasetError: there is no such dataset.
        InvalidRequestError: an address was given and no `dst`.
    """

    def __init__(
        self,
        dataset: str | os.PathLike[str],
        dst: DerivedScalarType | str | None,
        load: Callable[[Request], NeuronRecord] | None = None,
    ) -> None:
        self._metadata = get_all_neuron_dataset_metadata()
        self._load = load if load is not None else self._load_recorded
        self._model: ModelContext | None = None
        name = os.fspath(dataset)
        if all(metadata.short_name != name for metadata in self._metadata) and ("/" in name or os.path.isdir(name)):
            self._metadata.append(_unregistered(name, dst))
        types = self.types(name)
        wanted = derived_scalar_type_of(dst) if dst is not None else types[0] if types else None
        self._first = self._find(name, wanted or DerivedScalarType.MLP_POST_ACT).key

    def first_choice(self) -> tuple[str, DerivedScalarType]:
        """The dataset that was asked for."""
        return self._first

    def datasets(self) -> list[str]:
        """The short names, in order of registration."""
        return list(dict.fromkeys(metadata.short_name for metadata in self._metadata))

    def types(self, dataset: str) -> list[DerivedScalarType]:
        """What the dataset of a short name has activations of."""
        return [metadata.derived_scalar_type for metadata in self._metadata if metadata.short_name == dataset]

    def size(self, dataset: str, dst: DerivedScalarType) -> Size:
        """As the registry or the packed dataset says; not known of one that cannot be read: `load` tells why."""
        metadata = self._find(dataset, dst)
        try:
            n_layers, n_components = metadata.size()
            if metadata.layout == "packed":
                from neuron_explainer.activations.packed.dataset import open_packed_dataset

                return Size(sorted(open_packed_dataset(metadata.neuron_dataset_path).info.layer_indices), n_components)
        except (NeuronExplainerError, OSError):
            return Size(None, None)
        return Size(None if n_layers is None else range(n_layers), n_components)

    def load(self, request: Request) -> NeuronRecord:
        """The record, from where the dataset is."""
        return self._load(request)

    def computes_texts(self, dataset: str) -> bool:
        """Whether it is the embedded dataset, whose model is here too."""
        return dataset == EMBEDDED_SHORT_NAME

    def live_model(self) -> "ModelContext":
        """The embedded model."""
        if self._model is None:
            from neuron_explainer.models.checkpoints.load_model import load_model

            self._model = load_model(EMBEDDED_SHORT_NAME)
        return self._model

    def _load_recorded(self, request: Request) -> NeuronRecord:
        path = self._find(request.dataset, request.dst).neuron_dataset_path
        return load_neuron(path, request.layer, request.neuron)

    def _find(self, dataset: str, dst: DerivedScalarType) -> NeuronDatasetMetadata:
        for metadata in self._metadata:
            if metadata.key == (dataset, dst):
                return metadata
        # not there: the registry's own error lists what is
        return get_neuron_dataset_metadata_by_short_name_and_dst(dataset, dst)


def _unregistered(path: str, dst: DerivedScalarType | str | None) -> NeuronDatasetMetadata:
    """An entry, for this viewer alone, for an address or a folder."""
    from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset

    if not is_url(path) and is_packed_dataset(path):
        info = open_packed_dataset(path).info
        return NeuronDatasetMetadata(
            path, derived_scalar_type_of(info.derived_scalar_type), info.user_visible_name, path
        )
    if dst is None:
        raise InvalidRequestError(f"Say what the activations at {path} are of: NeuronViewer(…, dst='mlp_post_act').")
    return NeuronDatasetMetadata(path, derived_scalar_type_of(dst), path, path)


class ModelSource:
    """A model that computes records on one's own texts.

    Args:
        model: the model.
        dst: what to compute; None: MLP activations.
    """

    def __init__(self, model: "ModelContext", dst: DerivedScalarType | str | None) -> None:
        self._model = model
        types = [DerivedScalarType.MLP_POST_ACT, DerivedScalarType.ATTN_WRITE_NORM]
        wanted = types[0] if dst is None else derived_scalar_type_of(dst)
        self._types = list(dict.fromkeys([wanted, *types]))

    def first_choice(self) -> tuple[str, DerivedScalarType]:
        """The model, and what was asked for."""
        return self._model.model_name, self._types[0]

    def datasets(self) -> list[str]:
        """The model's name alone."""
        return [self._model.model_name]

    def types(self, dataset: str) -> list[DerivedScalarType]:
        """What was asked for, MLP activations and attention heads' writes."""
        return self._types

    def size(self, dataset: str, dst: DerivedScalarType) -> Size:
        """The model's layers, and the components that the type's last axis counts."""
        return Size(range(self._model.n_layers), self._model.get_dim_size(dst.shape_spec_per_token_sequence[-1]))

    def load(self, request: Request) -> NeuronRecord:
        """The record of the request's texts, computed now."""
        return live_record_of(self._model, request)

    def computes_texts(self, dataset: str) -> bool:
        """Always."""
        return True

    def live_model(self) -> "ModelContext":
        """The model."""
        return self._model


def live_record_of(model: "ModelContext", request: Request) -> NeuronRecord:
    """The record of a request's texts, computed by a model.

    Raises:
        InvalidRequestError: there is no text.
    """
    if not any(request.texts):
        raise InvalidRequestError("Write a text first: the model computes activations on it.")
    from neuron_explainer.collation.live import live_record

    return live_record(model, request.layer, request.neuron, list(request.texts), dst=request.dst)
