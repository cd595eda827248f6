"""What a viewer is asked to show, from what stays and what is given."""

from typing import SupportsIndex, cast

from neuron_explainer.activation_server.dataset_paths import dataset_text
from neuron_explainer.activations.derived_scalars.names.records import LayerOrNode, is_node, record_asked
from neuron_explainer.vocabulary.checks import checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.sources import RecordSource


def choice_asked(
    source: RecordSource,
    now: NeuronChoice,
    layer: LayerOrNode | None = None,
    neuron: SupportsIndex | None = None,
    dataset: str | None = None,
    dst: DerivedScalarType | str | None = None,
) -> NeuronChoice:
    """What `NeuronViewer.show` is asked for; it raises that method's errors.

    Args:
        source: where records come from.
        now: what is chosen now, which stays where nothing else is asked for.
        layer, neuron, dataset, dst: as `NeuronViewer.show` takes them.
    """
    name = now.dataset if dataset is None else dataset_text(checked_type("dataset", dataset, str))
    types = source.types(name)
    chosen_type = derived_scalar_type_of(dst) if dst is not None else now.dst
    if dst is None and types and chosen_type not in types:
        chosen_type = types[0]
    if neuron is None and is_node(layer):
        others = types if dst is None else ()
        layer, neuron, chosen_type = record_asked(layer, chosen_type, others)
    chosen_layer = now.layer if layer is None else cast(SupportsIndex, layer)
    choice = NeuronChoice(name, chosen_type, chosen_layer, now.neuron if neuron is None else neuron)
    size = source.size(name, chosen_type)
    if layer is None:
        choice = size.with_layer(choice)
    size.check(choice)
    return choice
