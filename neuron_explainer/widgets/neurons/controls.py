"""The controls of a viewer: the neuron, the number of examples."""

import random
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.neurons.sources import RecordSource
from neuron_explainer.widgets.parts import button, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet
from neuron_explainer.wording import without_credentials

_MOST_EXAMPLES = 40
_UNKNOWN_LAST = 10**7  # the largest index for a dataset of unknown size
_LABEL_BY_KIND = {"neuron": "Neuron", "attention head": "Head", "latent": "Latent"}
_NARROW, _WIDE = "170px", "330px"


class NeuronControls(widgets.HBox):
    """Dataset, type, layer, neuron; previous, next, random; the number of examples.

    Args:
        source: the datasets to choose from.
        first: the first choice.
        examples: the first number of examples.
        on_choice: called with the choice when the user chooses another neuron, and with whether it was typed, so that
            more changes may follow immediately.
        on_examples: called when the user changes the number of examples; None: all are shown, and the field is hidden.
    """

    def __init__(
        self,
        source: RecordSource,
        first: NeuronChoice,
        examples: int,
        on_choice: Callable[[NeuronChoice, bool], None],
        on_examples: Callable[[], None] | None,
    ) -> None:
        self._source = source
        self._on_choice = on_choice
        self._quiet = Quiet()
        datasets = source.datasets()
        self.dataset = widgets.Dropdown(
            options=[(without_credentials(name), _Dataset(name)) for name in datasets],
            value=first.dataset,
            description="Dataset",
            disabled=len(datasets) == 1,
            layout=flexible(_WIDE),
        )
        self.dst = widgets.Dropdown(description="Activations", layout=flexible(_WIDE))
        self.layer = widgets.BoundedIntText(
            description="Layer", min=0, continuous_update=True, layout=flexible(_NARROW)
        )
        self.neuron = widgets.BoundedIntText(
            description="Neuron", min=0, continuous_update=True, layout=flexible(_NARROW)
        )
        self.examples = widgets.BoundedIntText(
            description="Examples", value=examples, min=1, max=max(examples, _MOST_EXAMPLES), layout=flexible(_NARROW)
        )
        self.previous = button("Previous", "arrow-left", "Show the previous neuron")
        self.next = button("Next", "arrow-right", "Show the next neuron")
        self.random = button("Random", "random", "Show a random neuron of the dataset")
        self._size = DatasetSize(None, None)
        self.choose(first)
        for control, handler in (
            (self.dataset, self._dataset_changed),
            (self.dst, self._type_changed),
            (self.layer, self._index_changed),
            (self.neuron, self._index_changed),
        ):
            control.observe(handler, names="value")
        if on_examples is None:
            self.examples.layout.display = "none"
        else:
            self.examples.observe(lambda _: on_examples(), names="value")
        self.previous.on_click(lambda _: self._move(-1))
        self.next.on_click(lambda _: self._move(+1))
        self.random.on_click(lambda _: self._move_anywhere())
        super().__init__(
            [
                widgets.VBox([self.dataset, self.dst]),
                widgets.VBox([self.layer, self.neuron]),
                widgets.VBox([self.examples, widgets.HBox([self.previous, self.next, self.random], layout=wrapped())]),
            ],
            layout=wrapped(),
        )

    @property
    def choice(self) -> NeuronChoice:
        """The present choice, without texts."""
        return NeuronChoice(str(self.dataset.value), self.dst.value, self.layer.value, self.neuron.value)

    @property
    def size(self) -> DatasetSize:
        """The size of the chosen dataset."""
        return self._size

    def choose(self, choice: NeuronChoice) -> None:
        """Set the controls without calling `on_choice`."""
        with self._quiet:
            self.dataset.value = choice.dataset
            types = self._source.types(choice.dataset)
            self.dst.options = [(dst.value, dst) for dst in types]
            self.dst.value = choice.dst
            self.dst.disabled = len(types) == 1
            self._limit_indices(choice)
            choice = self._size.with_layer(choice)
            self.layer.value, self.neuron.value = choice.layer, choice.neuron

    def _limit_indices(self, choice: NeuronChoice) -> None:
        """Limit layer and neuron to the dataset's size. Larger values become the largest allowed."""
        self._size = self._source.size(choice.dataset, choice.dst)
        self.neuron.description = _LABEL_BY_KIND.get(component_kind(choice.dst), "Component")
        self.layer.min = 0  # so that the largest one may fall below the present smallest
        self.layer.max = max(self._size.layers) if self._size.layers else _UNKNOWN_LAST
        self.layer.min = min(self._size.layers) if self._size.layers else 0
        self.neuron.max = self._size.n_components - 1 if self._size.n_components else _UNKNOWN_LAST
        self.random.disabled = not (self._size.layers and self._size.n_components)

    def _dataset_changed(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            types = self._source.types(change["new"])
            dst = self.dst.value if self.dst.value in types else types[0]
            self._go(NeuronChoice(change["new"], dst, self.layer.value, self.neuron.value))

    def _type_changed(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            self._go(NeuronChoice(str(self.dataset.value), change["new"], self.layer.value, self.neuron.value))

    def _index_changed(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            self._on_choice(self.choice, True)

    def _move(self, step: int) -> None:
        self._go(self._size.moved(self.choice, step))

    def _move_anywhere(self) -> None:
        if self._size.layers and self._size.n_components:
            layer, neuron = random.choice(self._size.layers), random.randrange(self._size.n_components)
            self._go(NeuronChoice(str(self.dataset.value), self.dst.value, layer, neuron))

    def _go(self, choice: NeuronChoice) -> None:
        self.choose(choice)
        self._on_choice(self.choice, False)


class _Dataset(str):
    """A dataset's name or address; its `repr`, which is part of its widget's, is without credentials."""

    def __repr__(self) -> str:
        return repr(without_credentials(str(self)))
