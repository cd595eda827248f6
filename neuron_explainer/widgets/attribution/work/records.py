"""What is known of a component beyond one prompt: its record, its explanations, one's own text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import ipywidgets as widgets

from neuron_explainer.activation_server.load_by_name import load_explanations
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, get_all_neuron_dataset_metadata
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind, kind_of_node_type
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.attribution.one_node.explanations import explanations_html
from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.neuron_viewer import NeuronViewer

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext


@dataclass(frozen=True)
class RecordTask:
    """A component whose record is asked for.

    Attributes:
        node: a node's name; its tokens do not matter.
        prompt: what the model computes activations on, where no dataset has them: a text, or messages.
    """

    node: str
    prompt: Any


class RecordViewers:
    """The viewers in which a page shows components: one for each kind, used again for the next component.

    Args:
        model: the model.
    """

    def __init__(self, model: ModelContext) -> None:
        self._model = model
        self._viewers: dict[tuple[NodeKind, str], NeuronViewer] = {}

    def showing(self, task: RecordTask) -> list[widgets.Widget]:
        """What is known of a component, as widgets; of other nodes, nothing.

        Raises:
            NeuronExplainerError: the record cannot be had.
        """
        name = NodeName.parse(task.node)
        if not isinstance(name.component, int) or name.layer is None:
            return []
        component = str(NodeName(name.kind, name.layer, name.component, autoencoder=name.autoencoder))
        dataset = self._dataset_with(name)
        if dataset is not None:
            viewer = self._viewer(name.kind, dataset.short_name, component, dataset)
            return [*_explanations(dataset, component), viewer]
        if name.kind not in (NodeKind.HEAD, NodeKind.NEURON):
            return [
                widgets.HTML(hint_message(f"No registered dataset has records of {name.kind.meaning} of this model."))
            ]
        return [self._viewer(name.kind, repr(task.prompt), component, None, task.prompt)]

    def _dataset_with(self, name: NodeName) -> NeuronDatasetMetadata | None:
        """The registered dataset of the model that has records of such components; None if none has."""
        return next(
            (
                metadata
                for metadata in get_all_neuron_dataset_metadata()
                if metadata.short_name == self._model.model_name
                and kind_of_node_type(metadata.derived_scalar_type.node_type) is name.kind
            ),
            None,
        )

    def _viewer(
        self, kind: NodeKind, source: str, component: str, dataset: NeuronDatasetMetadata | None, prompt: Any = None
    ) -> NeuronViewer:
        """A viewer that shows a component; one on another text is closed."""
        viewer = self._viewers.get((kind, source))
        if viewer is not None:
            viewer.show(component)
            return viewer
        for other in [each for each in self._viewers if each[0] is kind]:
            self._viewers.pop(other).close()
        if dataset is None:
            viewer = NeuronViewer(self._model, component, texts=[cast("str", prompt)])
        else:
            viewer = NeuronViewer(dataset.short_name, component, dst=dataset.derived_scalar_type)
        self._viewers[kind, source] = viewer
        return viewer


def _explanations(dataset: NeuronDatasetMetadata, component: str) -> list[widgets.Widget]:
    """A component's published explanations; nothing where its dataset has none."""
    if dataset.explanations_path is None:
        return []
    try:
        found = load_explanations(dataset.short_name, component)
    except NeuronExplainerError as error:
        return [widgets.HTML(error_message(error, None))]
    return [widgets.HTML(explanations_html(found))]
