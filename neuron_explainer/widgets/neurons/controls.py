"""The controls of a viewer: the pickers, the number of examples."""

from collections.abc import Callable

import ipywidgets as widgets

from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.neurons.model_source import ModelSource
from neuron_explainer.widgets.neurons.sources import RecordSource
from neuron_explainer.widgets.parts import flexible, wrapped
from neuron_explainer.widgets.pickers import DatasetPicker, NodePicker
from neuron_explainer.widgets.weak_calls import weakly

_MOST_EXAMPLES = 40


class NeuronControls(widgets.HBox):
    """Dataset and type; layer, neuron, previous, next, random, history, bookmarks; the number of examples.

    Args:
        source: the datasets to choose from.
        first: the first choice.
        examples: the first number of examples.
        on_choice: called with the choice when the user chooses another neuron, and with whether it was typed, so that
            more changes may follow immediately.
        on_examples: called when the user changes the number of examples; None: all are shown, and the field is hidden.

    Attributes:
        dataset_picker, node_picker: the pickers that the controls are made of.
        examples: the field for the number of examples.
    """

    def __init__(
        self,
        source: RecordSource,
        first: NeuronChoice,
        examples: int,
        on_choice: Callable[[NeuronChoice, bool], None],
        on_examples: Callable[[], None] | None,
    ) -> None:
        self._on_choice = on_choice
        self._source = source
        self.dataset_picker = DatasetPicker(source)
        self.node_picker = NodePicker(source, node=first)
        self.dataset, self.dst = self.dataset_picker.datasets, self.dataset_picker.types
        bar = self.node_picker.bar
        self.layer, self.neuron = bar.layer, bar.number
        self.previous, self.next, self.random = bar.previous, bar.next, bar.random
        self.examples = widgets.BoundedIntText(
            description="Examples", value=examples, min=1, max=max(examples, _MOST_EXAMPLES), layout=flexible("170px")
        )
        self.choose(first)
        if isinstance(source, ModelSource):  # there is no other
            self.dataset_picker.entry.layout.display = "none"
        self.dataset_picker.tell(weakly(self._dataset_picked))
        self.node_picker.tell(weakly(self._node_picked))
        if on_examples is None:
            self.examples.layout.display = "none"
        else:
            self.examples.observe(lambda _: on_examples(), names="value")
        self.dataset_picker.layout.width, self.node_picker.layout.width = "340px", "auto"
        self.node_picker.layout.flex, self.node_picker.layout.min_width = "1 1 340px", "0"
        bar.fields.children = [*bar.fields.children, self.examples]
        picker = self.node_picker
        picker.children = [child for child in picker.children if child is not picker.bookmarks]
        super().__init__([self.dataset_picker, picker, picker.bookmarks], layout=wrapped())  # in a row of their own

    @property
    def choice(self) -> NeuronChoice:
        """The present choice, without texts."""
        return self.node_picker.choice

    @property
    def size(self) -> DatasetSize:
        """The size of the chosen dataset."""
        return self._source.size(self.choice.dataset, self.choice.dst)

    def choose(self, choice: NeuronChoice) -> None:
        """Set the controls without calling `on_choice`."""
        choice = self._source.size(choice.dataset, choice.dst).nearest(choice)
        self.dataset_picker.show(choice.dataset, choice.dst)
        self.node_picker.show(choice)

    def _dataset_picked(self, dataset: str, dst: DerivedScalarType) -> None:
        self.choose(NeuronChoice(dataset, dst, self.choice.layer, self.choice.neuron))
        self._on_choice(self.choice, False)

    def _node_picked(self, choice: NeuronChoice, is_typed: bool) -> None:
        if (choice.dataset, choice.dst) != (self.dataset_picker.dataset, self.dataset_picker.dst):
            self.dataset_picker.show(choice.dataset, choice.dst)
        self._on_choice(choice, is_typed)
