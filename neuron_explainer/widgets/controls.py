"""The controls of a viewer: which neuron, how many examples, which text."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from neuron_explainer.views.record_page import component_kind
from neuron_explainer.widgets.sources import Request, Size, Source

_MOST_EXAMPLES = 40
_UNKNOWN_LAST = 10**7  # of a dataset that does not say how large it is
_LABEL_BY_KIND = {"neuron": "Neuron", "attention head": "Head", "latent": "Latent"}
_NARROW, _WIDE = widgets.Layout(width="170px"), widgets.Layout(width="330px")


class NeuronControls(widgets.HBox):
    """Dataset, type, layer, neuron; previous, next, random; the number of examples.

    Args:
        source: what there is to choose from.
        first: the first choice.
        examples: the first number of examples.
        on_choice: called when another neuron was chosen; `typed` says that more changes may follow at once.
        on_examples: called when another number of examples was chosen.
    """

    def __init__(
        self,
        source: Source,
        first: Request,
        examples: int,
        on_choice: Callable[[Request, bool], None],
        on_examples: Callable[[], None],
    ) -> None:
        self._source = source
        self._on_choice = on_choice
        self._is_quiet = False
        datasets = source.datasets()
        self.dataset = widgets.Dropdown(
            options=datasets, value=first.dataset, description="Dataset", disabled=len(datasets) == 1, layout=_WIDE
        )
        self.dst = widgets.Dropdown(description="Activations", layout=_WIDE)
        self.layer = widgets.BoundedIntText(description="Layer", min=0, continuous_update=True, layout=_NARROW)
        self.neuron = widgets.BoundedIntText(description="Neuron", min=0, continuous_update=True, layout=_NARROW)
        self.examples = widgets.BoundedIntText(
            description="Examples", value=examples, min=1, max=max(examples, _MOST_EXAMPLES), layout=_NARROW
        )
        self.previous = _button("Previous", "arrow-left", "The neuron before this one")
        self.next = _button("Next", "arrow-right", "The neuron after this one")
        self.random = _button("Random", "random", "Any neuron of the dataset")
        self._size = Size(None, None)
        self.choose(first)
        for control, handler in (
            (self.dataset, self._dataset_changed),
            (self.dst, self._type_changed),
            (self.layer, self._place_changed),
            (self.neuron, self._place_changed),
        ):
            control.observe(handler, names="value")
        self.examples.observe(lambda _: on_examples(), names="value")
        self.previous.on_click(lambda _: self._move(-1))
        self.next.on_click(lambda _: self._move(+1))
        self.random.on_click(lambda _: self._move_anywhere())
        super().__init__(
            [
                widgets.VBox([self.dataset, self.dst]),
                widgets.VBox([self.layer, self.neuron]),
                widgets.VBox([self.examples, widgets.HBox([self.previous, self.next, self.random])]),
            ],
            layout=widgets.Layout(flex_flow="row wrap"),
        )

    @property
    def choice(self) -> Request:
        """What is chosen now, without texts."""
        return Request(self.dataset.value, self.dst.value, self.layer.value, self.neuron.value)

    @property
    def size(self) -> Size:
        """The size of the dataset that is chosen now."""
        return self._size

    def choose(self, request: Request) -> None:
        """Set the controls, and tell nobody."""
        with self._quietly():
            self.dataset.value = request.dataset
            types = self._source.types(request.dataset)
            self.dst.options = [(dst.value, dst) for dst in types]
            self.dst.value = request.dst
            self.dst.disabled = len(types) == 1
            self._take_size(request)
            self.layer.value, self.neuron.value = request.layer, request.neuron

    def _take_size(self, request: Request) -> None:
        """Bound layer and neuron by what the dataset has; what lies beyond is brought within."""
        self._size = self._source.size(request.dataset, request.dst)
        self.neuron.description = _LABEL_BY_KIND.get(component_kind(request.dst), "Component")
        self.layer.max = max(self._size.layers) if self._size.layers else _UNKNOWN_LAST
        self.neuron.max = self._size.n_components - 1 if self._size.n_components else _UNKNOWN_LAST
        self.random.disabled = not (self._size.layers and self._size.n_components)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """While several controls change at once, nobody is told."""
        before, self._is_quiet = self._is_quiet, True
        try:
            yield
        finally:
            self._is_quiet = before

    def _dataset_changed(self, change: dict[str, Any]) -> None:
        if not self._is_quiet:
            types = self._source.types(change["new"])
            dst = self.dst.value if self.dst.value in types else types[0]
            self._go(Request(change["new"], dst, self.layer.value, self.neuron.value))

    def _type_changed(self, change: dict[str, Any]) -> None:
        if not self._is_quiet:
            self._go(Request(self.dataset.value, change["new"], self.layer.value, self.neuron.value))

    def _place_changed(self, change: dict[str, Any]) -> None:
        if not self._is_quiet:
            self._on_choice(self.choice, True)

    def _move(self, step: int) -> None:
        self._go(self._size.moved(self.choice, step))

    def _move_anywhere(self) -> None:
        if self._size.layers and self._size.n_components:
            layer, neuron = random.choice(self._size.layers), random.randrange(self._size.n_components)
            self._go(Request(self.dataset.value, self.dst.value, layer, neuron))

    def _go(self, request: Request) -> None:
        self.choose(request)
        self._on_choice(self.choice, False)


class OwnText(widgets.VBox):
    """A box to write a text in, a button, and a place for what comes of it.

    Args:
        on_compute: called when the button is pressed.
    """

    def __init__(self, on_compute: Callable[[], None]) -> None:
        self.text = widgets.Textarea(
            placeholder="A text of your own",
            description="Your text",
            layout=widgets.Layout(width="660px", height="64px"),
        )
        self.compute = _button("Compute", "play", "This neuron's activations on your text")
        self.view = widgets.HTML()
        self.compute.on_click(lambda _: on_compute())
        super().__init__([widgets.HBox([self.text, self.compute]), self.view])

    @property
    def texts(self) -> tuple[str, ...]:
        """What was written, one text; none if it is blank."""
        return (self.text.value,) if self.text.value.strip() else ()


def _button(name: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=name, icon=icon, tooltip=tooltip, layout=widgets.Layout(width="108px"))
