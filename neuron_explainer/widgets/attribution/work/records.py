"""What is known of a component beyond one prompt: its record, its explanations, one's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from neuron_explainer.activation_server.load_by_name import load_explanations
from neuron_explainer.activation_server.neuron_datasets import (
    EMBEDDED_SHORT_NAME,
    NeuronDatasetMetadata,
    get_all_neuron_dataset_metadata,
)
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
    """The viewers in which a page shows components: one for each kind and source, used again for the next component.

    Args:
        model: the model.
    """

    def __init__(self, model: ModelContext) -> None:
        self._model = model
        self._of_datasets: dict[NodeKind, NeuronViewer] = {}
        self._of_prompts: dict[NodeKind, tuple[Any, NeuronViewer]] = {}

    def showing(self, task: RecordTask) -> list[widgets.Widget]:
        """What is known of a component, as widgets; of other nodes, nothing.

        Its explanations and its record, where a registered dataset has them, and what it does on the prompt and on
        texts of one's own.

        Raises:
            NeuronExplainerError: the record cannot be had.
        """
        name = NodeName.parse(task.node)
        if not isinstance(name.component, int) or name.layer is None:
            return []
        component = str(NodeName(name.kind, name.layer, name.component, autoencoder=name.autoencoder))
        found: list[widgets.Widget] = []
        dataset = self._dataset_with(name)
        if dataset is not None:
            found = [*_explanations(dataset, component), self._of_dataset(dataset, name.kind, component)]
            if dataset.short_name == EMBEDDED_SHORT_NAME:  # that viewer takes texts of one's own itself
                return found
        if name.kind in (NodeKind.HEAD, NodeKind.NEURON):
            return [*found, self._of_prompt(task.prompt, name.kind, component)]
        missing = f"No registered dataset has records of {name.kind.meaning} of this model."
        return found or [widgets.HTML(hint_message(missing))]

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

    def _of_dataset(self, dataset: NeuronDatasetMetadata, kind: NodeKind, component: str) -> NeuronViewer:
        viewer = self._of_datasets.get(kind)
        if viewer is None:
            viewer = NeuronViewer(dataset.short_name, component, dst=dataset.derived_scalar_type)
            self._of_datasets[kind] = viewer
        else:
            viewer.show(component)
        return viewer

    def _of_prompt(self, prompt: Any, kind: NodeKind, component: str) -> NeuronViewer:
        """A viewer that computes on the prompt; one on another prompt is closed."""
        before, viewer = self._of_prompts.get(kind, (None, None))
        if viewer is not None and before == prompt:
            viewer.show(component)
            return viewer
        if viewer is not None:
            viewer.close()
        viewer = NeuronViewer(self._model, component, texts=_texts(prompt))
        self._of_prompts[kind] = (prompt, viewer)
        return viewer


def _texts(prompt: Any) -> list[Any]:
    """The prompt as a viewer takes texts; of token ids none, because text may not give them again."""
    if isinstance(prompt, str):
        return [prompt]
    return [list(prompt)] if all(isinstance(each, Mapping) for each in prompt) else []


def _explanations(dataset: NeuronDatasetMetadata, component: str) -> list[widgets.Widget]:
    """A component's published explanations; nothing where its dataset has none."""
    if dataset.explanations_path is None:
        return []
    try:
        found = load_explanations(dataset.short_name, component)
    except NeuronExplainerError as error:
        return [widgets.HTML(error_message(error, None))]
    return [widgets.HTML(explanations_html(found))]
