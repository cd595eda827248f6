"""`ne.component`: from a model or a dataset, and a name, to a component."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from neuron_explainer.activation_server.dataset_paths import dataset_text, registered_types, type_of_dataset
from neuron_explainer.activation_server.neuron_datasets import EMBEDDED_SHORT_NAME, get_all_neuron_dataset_metadata
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven, NodeName
from neuron_explainer.activations.derived_scalars.names.records import record_asked
from neuron_explainer.activations.packed.dataset import is_packed_dataset, open_packed_dataset
from neuron_explainer.components.at_hand import AtHand, check_in_model, check_in_range, check_model_of_dataset
from neuron_explainer.components.component import Component
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, NotAtHandError, shown
from neuron_explainer.storage.local import is_local_file, is_local_folder
from neuron_explainer.storage.locations import is_url, path_text, without_secrets
from neuron_explainer.vocabulary.checks import checked_flag
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:  # a record alone is shown without torch
    from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig
    from neuron_explainer.attribution.question.settings import AutoencodersGiven
    from neuron_explainer.models.autoencoder_context import AutoencoderContext

USUAL_SCALAR = {NodeKind.NEURON: DerivedScalarType.MLP_POST_ACT, NodeKind.HEAD: DerivedScalarType.ATTN_WRITE_NORM}
SCALAR_OF_LATENTS = {
    NodeType.AUTOENCODER_LATENT: DerivedScalarType.AUTOENCODER_LATENT,
    NodeType.MLP_AUTOENCODER_LATENT: DerivedScalarType.MLP_AUTOENCODER_LATENT,
    NodeType.ATTENTION_AUTOENCODER_LATENT: DerivedScalarType.ATTENTION_AUTOENCODER_LATENT,
}


def scalar_of_latents(autoencoders: AutoencoderContext) -> DerivedScalarType:
    """The derived scalar that is the activation of autoencoders' latents."""
    return SCALAR_OF_LATENTS[autoencoders.autoencoder_node_type]


def component(
    source: ConfigOrModel | str | os.PathLike[str],
    node: NodeGiven,
    *,
    dst: DerivedScalarType | str | None = None,
    model: ConfigOrModel | str | os.PathLike[str] | None = None,
    autoencoders: AutoencodersGiven = None,
    dataset: str | os.PathLike[str] | None = None,
    explanations: str | os.PathLike[str] | None = None,
    prepend_bos: bool | None = None,
) -> Component:
    """Everything about one neuron, attention head or autoencoder latent.

    Nothing is computed, and no record loaded, until it is asked for.

    Args:
        source: a model, or a DstConfig with a model and autoencoders; or the name, address or folder of a neuron
            dataset. A text that is neither is what `ne.load_model` takes; one that is both means the dataset.
        node: its name, such as "L5N131", "L3H2" or "L5A102", an index, or a row of a table of nodes.
        dst: the derived scalar that is its activation; None: the dataset's, or else neurons' activations
            (MLP_POST_ACT), the norms of heads' writes by token pair (ATTN_WRITE_NORM), or the latents.
        model: a model beside a dataset. The embedded dataset has its own.
        autoencoders: of latents, as `ne.load_autoencoders` gives them.
        dataset: a neuron dataset beside a model.
        explanations: the name, address or folder of published explanations; None: those of the dataset, if it has
            some.
        prepend_bos: whether one's own texts begin with the beginning-of-sequence token; None: as the model's tokenizer
            does.

    Raises:
        UnknownDatasetError, CheckpointNotFoundError: `source` is the name of neither.
        NodeNameError: `node` is not the name of a node.
        InvalidRequestError: it is not a head, neuron or latent, the model or the dataset does not have it, or the
            dataset is not of such components or of a model of other sizes; or a model or a dataset is given twice.
        MisconfiguredError: autoencoders are given without a model, or are not autoencoders.

    >>> import neuron_explainer as ne
    >>> ne.component("tiny", "L0H1")
    <Component L0H1: an attention head, attn_write_norm; model, dataset 'tiny'>
    """
    if prepend_bos is not None:
        checked_flag("prepend_bos", prepend_bos)
    model, dataset = model_and_dataset_given(source, model, dataset)
    name_of_dataset = None if dataset is None else dataset_text(dataset)
    config = None if model is None else config_given(model, autoencoders)
    if autoencoders is not None and config is None:
        raise NotAtHandError("autoencoders=", "model", "a model")
    if name_of_dataset is not None:
        name, scalar_type = _of_dataset(name_of_dataset, node, dst)
    else:
        name, scalar_type = _of_model(config, node, dst)
    at_hand = AtHand(
        config,
        name_of_dataset,
        None if explanations is None else path_text(explanations),
        is_embedded=name_of_dataset == EMBEDDED_SHORT_NAME,
        prepend_bos=prepend_bos,
    )
    if name_of_dataset is not None:
        sizes, subject = size_of_dataset(name_of_dataset, scalar_type), without_secrets(name_of_dataset)
        if config is not None:
            check_model_of_dataset(config, name.kind, sizes, subject)
        check_in_range(name, *sizes, subject)
    if config is not None:
        check_in_model(config, name)
    return Component(name, scalar_type, at_hand)


def model_and_dataset_given(source: Any, model: Any, dataset: Any) -> tuple[Any, Any]:
    """The model and the dataset that are meant; each None if neither argument gives it.

    Raises:
        InvalidRequestError: one of them is given twice, or neither is.
    """
    if source is None:
        raise InvalidRequestError("The first argument is None. Give a model, or the name or folder of a dataset.")
    if is_dataset(source):
        if dataset is not None:
            raise InvalidRequestError(f"{shown(source)} and {shown(dataset)} are both datasets. Give one.")
        return model, source
    if model is not None:
        raise InvalidRequestError(f"{shown(source)} is a model, and model= gives another. Give one.")
    return source, dataset


def is_dataset(source: object) -> bool:
    """Whether a source means a dataset: a registered name, an address, or a folder without a model's files."""
    if not isinstance(source, str | os.PathLike):
        return False
    text = dataset_text(source)
    if any(each.short_name == text for each in get_all_neuron_dataset_metadata()):
        return True
    if is_url(source):
        return True
    return is_local_folder(text) and not is_local_file(os.path.join(text, "config.json"))


def config_given(model: Any, autoencoders: AutoencodersGiven) -> DstConfig:
    """The model with its autoencoders, from whatever form they are given in.

    Raises:
        CheckpointNotFoundError, UnknownNameError: a text is not a model's.
        MisconfiguredError: autoencoders are given twice, or are not autoencoders.
    """
    from neuron_explainer.activations.derived_scalars.config import DstConfig, as_config
    from neuron_explainer.attribution.question.settings import with_autoencoders
    from neuron_explainer.collation.runs.preparation import model_of

    config = model if isinstance(model, DstConfig) else as_config(model_of(model), "source")
    return with_autoencoders(config, autoencoders)


def _of_dataset(
    dataset: str, node: NodeGiven, dst: DerivedScalarType | str | None
) -> tuple[NodeName, DerivedScalarType]:
    others = registered_types(dataset) if dst is None else ()
    layer, index, scalar_type = record_asked(node, type_of_dataset(dataset, dst), others)
    kind = NodeName.of(f"{layer}:{index}", kind=scalar_type.node_type).kind
    return NodeName(kind, layer, index), scalar_type


def _of_model(
    config: DstConfig | None, node: NodeGiven, dst: DerivedScalarType | str | None
) -> tuple[NodeName, DerivedScalarType]:
    name = NodeName.of(node) if dst is None else NodeName.of(node, kind=derived_scalar_type_of(dst).node_type)
    name.to_neuron_id()  # refuses what is not one head, neuron or latent
    name = name.whole()
    if dst is not None:
        scalar_type = derived_scalar_type_of(dst)
        record_asked(name, scalar_type)  # refuses a scalar of other components
        return name, scalar_type
    if name.kind is not NodeKind.LATENT:
        return name, USUAL_SCALAR[name.kind]
    node_type = name.to_node_index().node_type
    context = None if config is None else config.get_autoencoder_context(node_type)
    if context is None:
        raise NotAtHandError(str(name), "autoencoders", "an autoencoder")
    return name, scalar_of_latents(context)


def size_of_dataset(dataset: str, dst: DerivedScalarType) -> tuple[int | None, int | None]:
    """How many layers a dataset's model has, and components each; None if unknown, or if it cannot be read (yet)."""
    try:
        for metadata in get_all_neuron_dataset_metadata():
            if metadata.key == (dataset, dst):
                return metadata.size()
        if not is_url(dataset) and is_packed_dataset(dataset):
            info = open_packed_dataset(dataset).info
            return (info.n_layers, info.n_components) if info.derived_scalar_type == dst.value else (None, None)
    except (NeuronExplainerError, OSError):
        pass  # whoever reads it is told
    return None, None
