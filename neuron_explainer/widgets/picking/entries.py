"""What was typed or assigned, as a choice among the datasets and components that a picker has."""

from dataclasses import replace

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.derived_scalars.names.records import is_node, record_asked
from neuron_explainer.components.pasted_links import same_place
from neuron_explainer.components.typed_names import TypedName, read_typed
from neuron_explainer.errors import (
    InvalidIndexError,
    InvalidRequestError,
    NeuronExplainerError,
    UnknownDatasetError,
    UnknownNameError,
    shown,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.sources import RecordSource
from neuron_explainer.wording import without_credentials


def choice_of_text(source: RecordSource, now: NeuronChoice, text: str) -> NeuronChoice:
    """The component that a text means, beside the one that is chosen now.

    Raises:
        NodeNameError: the text is not understood.
        InvalidRequestError: there is no such component, or a link is of another dataset that cannot be chosen here.
        UnknownDatasetError: the link's dataset lacks the type of its records.
    """
    typed = read_typed(text)
    dataset = _dataset_of(source, now, typed)
    types = source.types(dataset)
    dst = now.dst if typed.dst is None else type_in_dataset(source, dataset, typed.dst)
    if dst not in types and types:
        dst = types[0]
    layer = now.layer if typed.layer is None else typed.layer
    if typed.kind is not None:
        name = NodeName(typed.kind, layer, typed.index, autoencoder=typed.autoencoder)
        _, _, dst = record_asked(name, dst, types if typed.dst is None else ())
    return checked_choice(source, NeuronChoice(dataset, dst, layer, typed.index))


def choice_of_node(source: RecordSource, now: NeuronChoice, node: object) -> NeuronChoice:
    """The component that an index names, beside the one that is chosen now.

    Raises:
        InvalidIndexError: it is not one head, neuron or latent.
        InvalidRequestError: the dataset has no such component.
    """
    if not is_node(node):
        raise InvalidIndexError(f"{shown(node)} names no node. Give a name such as L2N5, or an index.")
    layer, index, dst = record_asked(node, now.dst, source.types(now.dataset))
    return checked_choice(source, NeuronChoice(now.dataset, dst, layer, index))


def choice_of_dataset(source: RecordSource, now: NeuronChoice, dataset: str) -> NeuronChoice:
    """The component of another dataset that is nearest to the one that is chosen now.

    Raises:
        UnknownDatasetError: the dataset is unknown.
        InvalidRequestError: an address or a folder does not say the type of its records; or it is another model.
    """
    name, first_type = source.include(dataset)
    dst = now.dst if now.dst in source.types(name) else first_type
    return nearest_choice(source, replace(now, dataset=name, dst=dst))


def choice_of_type(source: RecordSource, now: NeuronChoice, dst: DerivedScalarType | str) -> NeuronChoice:
    """The component of another type that is nearest to the one that is chosen now.

    Raises:
        UnknownNameError: the type is unknown.
        UnknownDatasetError: the dataset lacks it.
    """
    return nearest_choice(source, replace(now, dst=type_in_dataset(source, now.dataset, dst)))


def type_in_dataset(source: RecordSource, dataset: str, dst: DerivedScalarType | str) -> DerivedScalarType:
    """The derived scalar type, if a dataset has it.

    Raises:
        UnknownNameError: the type is unknown.
        UnknownDatasetError: the dataset lacks it.
    """
    scalar_type, types = derived_scalar_type_of(dst), source.types(dataset)
    if scalar_type not in types:
        raise UnknownDatasetError.of_scalar(dataset, scalar_type.value, [each.value for each in types])
    return scalar_type


def nearest_choice(source: RecordSource, choice: NeuronChoice) -> NeuronChoice:
    """The choice within the size of its dataset."""
    return source.size(choice.dataset, choice.dst).nearest(choice)


def checked_choice(source: RecordSource, choice: NeuronChoice) -> NeuronChoice:
    """The choice, if its dataset has it.

    Raises:
        InvalidRequestError: it has not.
    """
    source.size(choice.dataset, choice.dst).check(choice)
    return choice


def place_and_type(entry: str) -> tuple[str, DerivedScalarType | None]:
    """The address or folder in an entry, and the type that stands behind it; None if none does.

    >>> place_and_type("https://host/my data mlp_post_act")[0]
    'https://host/my data'
    """
    place, _, last = entry.strip().rpartition(" ")
    if not place or len(last) > 200:
        return entry.strip(), None
    try:
        return place.strip(), derived_scalar_type_of(last)
    except UnknownNameError:
        return entry.strip(), None


def _dataset_of(source: RecordSource, now: NeuronChoice, typed: TypedName) -> str:
    asked = typed.dataset
    if asked is None or asked.lower() == now.dataset.lower() or same_place(asked, now.dataset):
        return now.dataset
    known = next((name for name in source.datasets() if name == asked or same_place(name, asked)), None)
    if known is not None:
        return known
    try:
        if typed.dst is not None:  # it is registered, perhaps since this picker was made
            return source.include(asked)[0]
    except NeuronExplainerError:
        pass
    choices = ", ".join(map(without_credentials, source.datasets()[:20]))
    raise InvalidRequestError(
        f"The link is of {without_credentials(asked)}, but this is {now.dataset_shown}. Choose one of: {choices}; or "
        "give that dataset to the picker first."
    )
