"""Load neurons and explanations by a dataset's name, without `await`: one neuron, or many at once.

No event loop is used, so a notebook cell may call these functions whether or not a loop runs, and queued cells are not
lost. pydantic and threads are needed only to load many neurons, and imported only there, so that one record is quick to
load.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, cast

import neuron_explainer.activations.activations as activations
from neuron_explainer.activation_server.dataset_paths import (
    dataset_text,
    explanations_path,
    registered_types,
    resolve_neuron_dataset,
    type_of_dataset,
)
from neuron_explainer.activation_server.loaded_neurons import LoadedNeuron, LoadedNeurons
from neuron_explainer.activations.activations import NeuronId, NeuronRecord
from neuron_explainer.activations.dataset_types import type_said
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven
from neuron_explainer.activations.derived_scalars.names.records import LayerOrNode, is_node, record_asked
from neuron_explainer.activations.neuron_ids import checked_index
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, NeuronNotFoundError, shown
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.vocabulary.checks import checked_flag
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    from neuron_explainer.activation_server.load_neurons import NodeIdAndDatasets
    from neuron_explainer.activations.scored_explanations import NeuronSimulationResults

__all__ = [
    "DatasetName",
    "LoadedNeuron",
    "LoadedNeurons",
    "NeuronName",
    "load_explanations",
    "load_neuron",
    "load_neurons",
]

DatasetName = str | os.PathLike[str]
"""A registered short name, an http(s) address or a local folder."""

NeuronName: TypeAlias = "NodeGiven | tuple[SupportsIndex, SupportsIndex] | NodeIdAndDatasets"
"""A neuron: its name or id, a pair (layer, index), an index, or an id with the datasets to look for it in."""

_MOST_AT_ONCE = 32


def load_neuron(
    dataset: DatasetName,
    layer: LayerOrNode,
    neuron: SupportsIndex | None = None,
    dst: DerivedScalarType | str | None = None,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
) -> NeuronRecord:
    """Load the record of one neuron, attention head or latent, by the name or path of its dataset.

    `neuron_explainer.activations.load_neuron` does the same by a path only.

    Args:
        dataset: a short name, such as "gpt2-small" or "tiny" (`ne.datasets()` lists them), an http(s) address, or a
            local folder.
        layer: the layer, from 0; an int, or a NumPy or torch integer. Or the neuron, head or latent as a whole: its
            name, such as "L2N5", or an index, such as a NodeIndex. Then `neuron` is left out.
        neuron: the neuron, head or latent in the layer, from 0; the same types.
        dst: the derived scalar type of the activations, or its name in any case; it selects among the datasets of one
            short name. None: the type that fits the name, mlp_post_act, or the only type there is. Not needed for an
            address or a folder, whose name or files may say it.
        use_cache: whether downloads are read from and kept in the disk cache.
        revalidate: ask the server whether the cached file is up to date.

    Returns:
        The record. In a notebook it is displayed as a page.

    Raises:
        UnknownDatasetError: no dataset has this name.
        UnknownNameError: the derived scalar type is unknown.
        NeuronNotFoundError: the dataset has no such neuron.
        MalformedRecordError, MalformedDatasetError: the neuron's file is invalid.
        MissingFileError: the dataset's folder does not exist.
        DownloadError: the dataset could not be reached.
        InvalidRequestError: an index is negative or not a whole number, or the dataset is not of such nodes.
        NodeNameError: `layer` is a text that is not a node's name.

    >>> import neuron_explainer as ne
    >>> record = ne.load_neuron("tiny", 2, 5)
    >>> head = ne.load_neuron("tiny", "L0H1")
    """
    layer_index, neuron_index, scalar_type = _asked(dataset, layer, neuron, dst)
    path = resolve_neuron_dataset(dataset, scalar_type)
    try:
        record = activations.load_neuron(path, layer_index, neuron_index, use_cache=use_cache, revalidate=revalidate)
        is_known = dst is not None or path != dataset_text(dataset)  # a folder or address alone leaves it to guess
        said = scalar_type if is_known else type_said(path, record)
        return replace(record, dst=said) if record.dst is None and said is not None else record
    except NeuronNotFoundError as error:  # its message begins with the path, but the user may have given a name
        given = without_secrets(dataset_text(dataset))
        raise NeuronNotFoundError(error.detail.replace(without_secrets(path), given, 1)) from None


def load_explanations(
    dataset: DatasetName,
    layer: LayerOrNode,
    neuron: SupportsIndex | None = None,
    dst: DerivedScalarType | str | None = None,
    *,
    use_cache: bool = True,
) -> "NeuronSimulationResults":
    """Load the published explanations of one neuron, with their scores.

    Args:
        dataset: the short name of a dataset with explanations ("gpt2-xl", "gpt2-small"), or an http(s) address or local
            folder of explanations.
        layer: the layer, from 0; or the neuron as a whole, as for `load_neuron`.
        neuron: the neuron in the layer, from 0.
        dst: the derived scalar type of the dataset, or its name; it selects among the datasets of one short name. None:
            mlp_post_act, or the only type there is.
        use_cache: whether downloads are read from and kept in the disk cache.

    Raises:
        UnknownDatasetError: no dataset has this name.
        InvalidRequestError: no explanations are registered for the dataset, or an index is negative or not a whole
            number.
        NeuronNotFoundError: the neuron has no explanations.
        MalformedRecordError: the file is not a valid explanations file.
        DownloadError: the address could not be read.

    An example, which needs a network: `ne.load_explanations("gpt2-xl", 5, 131).to_dataframe()`.
    """
    from neuron_explainer.activations.explanation_files import load_explanations as load_explanations_at

    layer_index, neuron_index, scalar_type = _asked(dataset, layer, neuron, dst)
    path = explanations_path(dataset, scalar_type)
    return load_explanations_at(path, layer_index, neuron_index, use_cache=use_cache)


def _asked(
    dataset: DatasetName, layer: LayerOrNode, neuron: SupportsIndex | None, dst: DerivedScalarType | str | None
) -> tuple[Any, Any, DerivedScalarType]:
    """The layer, the neuron and the derived scalar type that are meant. The two numbers are not checked."""
    scalar_type = type_of_dataset(dataset, dst)
    if neuron is None and is_node(layer):
        others = registered_types(dataset) if dst is None else ()
        return record_asked(layer, scalar_type, others)
    if neuron is None:
        raise InvalidRequestError(f"The neuron of layer {shown(layer)} is missing. Give its number, or its name: L2N5.")
    return layer, neuron, scalar_type


def load_neurons(
    neurons: Iterable[NeuronName],
    dataset: DatasetName | None = None,
    dst: DerivedScalarType | str | None = None,
    *,
    progress: bool = True,
) -> LoadedNeurons:
    """Load many neurons at once, in threads.

    Args:
        neurons: each a name such as "L2N5", a NodeIndex, a NeuronId, a pair (layer, index), or a NodeIdAndDatasets.
        dataset: the dataset of the neurons that are not a NodeIdAndDatasets: a short name, an address or a folder.
        dst: the derived scalar type of that dataset, or its name; None: mlp_post_act, or the only type there is.
        progress: whether to show a progress bar.

    Returns:
        One result per neuron, in the order given: a record or an error. A failure does not stop the other neurons.

    Raises:
        UnknownDatasetError: no dataset has this name.
        InvalidRequestError: a neuron needs `dataset`, but it is None; a neuron is not in one of these forms; or
            `neurons` is not several neurons.
        NodeNameError: a text is not a node's name.

    >>> import neuron_explainer as ne
    >>> results = ne.load_neurons([(2, 5), (3, 7), (9, 9)], "tiny", progress=False)
    >>> len(results.records), len(results.failures)
    (2, 1)
    """
    if isinstance(neurons, str | os.PathLike):
        raise InvalidRequestError(
            f"neurons is {shown(neurons)}. Give the neurons first: load_neurons([(layer, index)], dataset)."
        )
    if not isinstance(neurons, Iterable):
        raise InvalidRequestError(f"neurons is {shown(neurons)}. Give several: a list of pairs (layer, index), say.")
    checked_flag("progress", progress)
    scalar_type = DerivedScalarType.MLP_POST_ACT if dataset is None else type_of_dataset(dataset, dst)
    others = registered_types(dataset) if dataset is not None and dst is None else []
    asked = [_with_datasets(neuron, dataset, scalar_type, others) for neuron in neurons]
    for name, its_type in {(name, each.dst) for each in asked for name in each.datasets}:
        resolve_neuron_dataset(name, its_type)  # raises now for an unknown name
    if not asked:
        return LoadedNeurons([])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(asked)), thread_name_prefix="load_neurons") as pool:
        results = pool.map(_loaded, asked)
        try:
            return LoadedNeurons(_with_progress_bar(results, len(asked)) if progress else results)
        except BaseException:  # the user stopped the cell, so start no further download
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _with_progress_bar(results: Iterable[LoadedNeuron], total: int) -> Iterable[LoadedNeuron]:
    from tqdm.auto import tqdm

    return tqdm(results, total=total, desc="Loading neurons", unit="neuron")


def _with_datasets(
    neuron: NeuronName, dataset: DatasetName | None, dst: DerivedScalarType, others: Sequence[DerivedScalarType]
) -> "NodeIdAndDatasets":
    from neuron_explainer.activation_server.load_neurons import NodeIdAndDatasets

    if isinstance(neuron, NodeIdAndDatasets):
        return neuron
    if dataset is None:
        raise InvalidRequestError(
            f"The dataset of neuron {neuron} is missing. Pass `dataset`, or give the neuron as a NodeIdAndDatasets."
        )
    if is_node(neuron) and not isinstance(neuron, NeuronId):
        layer_index, neuron_index, dst = record_asked(neuron, dst, others)
        neuron = NeuronId(layer_index, neuron_index)
    if not isinstance(neuron, NeuronId):
        try:
            layer, index = cast("tuple[SupportsIndex, SupportsIndex]", neuron)
        except (TypeError, ValueError):
            raise InvalidRequestError(
                f"neurons contains {shown(neuron)}. Give each neuron as a pair (layer, index), a name such as L2N5, a "
                "NeuronId or a NodeIdAndDatasets."
            ) from None
        neuron = NeuronId(checked_index("layer", layer, digits=True), checked_index("neuron", index, digits=True))
    return NodeIdAndDatasets(
        dst=dst,
        layer_index=neuron.layer_index,
        activation_index=neuron.neuron_index,
        datasets=[dataset_text(dataset)],
    )


def _loaded(asked: "NodeIdAndDatasets") -> LoadedNeuron:
    from neuron_explainer.activation_server.load_neurons import load_neuron_from_first_dataset

    neuron_id = NeuronId(asked.layer_index, asked.activation_index)
    try:
        return LoadedNeuron(neuron_id, record=load_neuron_from_first_dataset(asked)[1])
    except (NeuronExplainerError, OSError) as error:
        return LoadedNeuron(neuron_id, error=error)
