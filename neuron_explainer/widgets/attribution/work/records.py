"""What is known of a component beyond one prompt: its record, its explanations, one's own text."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuron_explainer.activation_server.load_by_name import load_explanations
from neuron_explainer.activation_server.neuron_datasets import (
    EMBEDDED_SHORT_NAME,
    NeuronDatasetMetadata,
    get_all_neuron_dataset_metadata,
)
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind, kind_of_node_type
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.errors import NeuronExplainerError, StoppedError
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.views.attribution.one_node.explanations import published_explanations_html
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


@dataclass(frozen=True)
class Record:
    """What is known of a component.

    Attributes:
        about: its explanations, or why there is no record; HTML, may be empty.
        viewers: show its record, and what it does on the prompt and on texts of one's own.
    """

    about: str = ""
    viewers: tuple[NeuronViewer, ...] = ()


class RecordViewers:
    """The viewers in which a page shows components: one for each kind, used again for the next component.

    Args:
        model: the model.
    """

    def __init__(self, model: ModelContext) -> None:
        self._model = model
        self._viewers: dict[tuple[NodeKind, bool], tuple[str, NeuronViewer]] = {}
        """By the kind, and whether a dataset has the records: the source, and the viewer."""
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Close all viewers. No more are made."""
        with self._lock:
            self._is_closed = True
            viewers = [self._viewers.popitem()[1][1] for _ in range(len(self._viewers))]
        for viewer in viewers:
            viewer.close()

    def showing(self, task: RecordTask) -> Record:
        """What is known of a component; of other nodes, nothing.

        Raises:
            NeuronExplainerError: the record cannot be had.
            StoppedError: another one was asked for meanwhile, or the page was closed.
        """
        name = NodeName.parse(task.node)
        if not isinstance(name.component, int) or name.layer is None:
            return Record()
        component = str(NodeName(name.kind, name.layer, name.component, autoencoder=name.autoencoder))
        about, viewers = "", []
        dataset = self._dataset_with(name)
        if dataset is not None:
            about = _explanations(dataset, component)
            viewers.append(self._viewer(name.kind, dataset.short_name, component, dataset))
        # The viewer of the embedded dataset takes texts of one's own itself.
        takes_texts = dataset is not None and dataset.short_name == EMBEDDED_SHORT_NAME
        if name.kind in (NodeKind.HEAD, NodeKind.NEURON) and not takes_texts:
            viewers.append(self._viewer(name.kind, repr(task.prompt), component, None, task.prompt))
        if not viewers:
            about = hint_message(f"No registered dataset has records of {name.kind.meaning} of this model.")
        return Record(about, tuple(viewers))

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
        stop_if_asked()
        key = (kind, dataset is not None)
        held = self._viewers.get(key)
        if held is not None and held[0] == source:
            held[1].show(component)
            return held[1]
        if dataset is None:
            viewer = NeuronViewer(self._model, component, texts=_texts(prompt), core_controls_only=True)
        else:
            viewer = NeuronViewer(
                dataset.short_name, component, dst=dataset.derived_scalar_type, core_controls_only=True
            )
        viewer.keep.layout.display = "none"  # the page around it has its own
        try:
            replaced = self._replace(key, source, viewer)
        except StoppedError:
            viewer.close()
            raise
        if replaced is not None:
            replaced.close()
        return viewer

    def _replace(self, key: tuple[NodeKind, bool], source: str, viewer: NeuronViewer) -> NeuronViewer | None:
        """Keep a viewer instead of the one in its place, which is returned.

        Raises:
            StoppedError: another thread was asked for another one meanwhile.
        """
        with self._lock:
            stop_if_asked()
            if self._is_closed:
                raise StoppedError()
            _, replaced = self._viewers.pop(key, ("", None))
            self._viewers[key] = (source, viewer)
        return replaced


def _texts(prompt: Any) -> list[Any]:
    """The prompt as a viewer takes texts; of token ids none, because text may not give them again."""
    if isinstance(prompt, str):
        return [prompt]
    return [list(prompt)] if all(isinstance(each, Mapping) for each in prompt) else []


def _explanations(dataset: NeuronDatasetMetadata, component: str) -> str:
    """A component's published explanations as HTML; empty where its dataset has none."""
    if dataset.explanations_path is None:
        return ""
    try:
        found = load_explanations(dataset.short_name, component)
    except NeuronExplainerError as error:
        return error_message(error, None)
    return published_explanations_html(found)
