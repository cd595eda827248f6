"""The fields and buttons of a picker: layer, number, an entry, previous and next, back and forward."""

import ipywidgets as widgets

from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.parts import button, flexible, wrapped
from neuron_explainer.widgets.quiet import Quiet

_UNKNOWN_LAST = 10**7  # the largest index for a dataset of unknown size
_LABEL_BY_KIND = {"neuron": "Neuron", "attention head": "Head", "latent": "Latent"}
_NARROW, _WIDE, _BUTTON = "170px", "330px", "94px"


class NodeBar(widgets.VBox):
    """The controls, without what they do.

    Args:
        hides_dead: whether the box is ticked at first.
    """

    def __init__(self, hides_dead: bool) -> None:
        self._quiet = Quiet()
        self.layer = widgets.BoundedIntText(
            description="Layer", min=0, continuous_update=True, layout=flexible(_NARROW)
        )
        self.number = widgets.BoundedIntText(
            description="Neuron", min=0, continuous_update=True, layout=flexible(_NARROW)
        )
        self.entry = widgets.Text(
            description="Go to",
            placeholder="L5N131, 5:131, a link…",
            continuous_update=False,
            layout=flexible(_WIDE),
        )
        self.previous = button("Previous", "arrow-left", "Show the previous neuron", _BUTTON)
        self.next = button("Next", "arrow-right", "Show the next neuron", _BUTTON)
        self.random = button("Random", "random", "Show a random neuron of the dataset", _BUTTON)
        self.back = button("Back", "undo", "Go back to what was chosen before", _BUTTON)
        self.forward = button("Forward", "repeat", "Go forward again", _BUTTON)
        self.hide_dead = widgets.Checkbox(
            value=hides_dead, description="Hide dead", indent=False, layout=widgets.Layout(width="110px")
        )
        self.fields = widgets.HBox([self.layer, self.number, self.entry], layout=wrapped())
        moves = widgets.HBox(
            [self.previous, self.next, self.random, self.back, self.forward, self.hide_dead], layout=wrapped()
        )
        super().__init__([self.fields, moves], layout=widgets.Layout(width="100%"))

    @property
    def is_quiet(self) -> bool:
        """Whether the fields are set by `show`, not by a person."""
        return self._quiet.is_on

    def show(
        self, choice: NeuronChoice, size: DatasetSize, *, knows_dead: bool, goes_back: bool, goes_on: bool
    ) -> None:
        """Set the fields to a choice.

        Args:
            choice: the choice.
            size: the size of its dataset, which limits what can be entered.
            knows_dead: whether it is known which components are dead.
            goes_back, goes_on: whether there is something to go back or forward to.
        """
        with self._quiet:
            self.number.description = _LABEL_BY_KIND.get(component_kind(choice.dst), "Component")
            self.layer.min = 0  # so that the largest one may fall below the present smallest
            self.layer.max = max(size.layers) if size.layers else max(_UNKNOWN_LAST, choice.layer)
            self.layer.min = min(size.layers) if size.layers else 0
            self.number.max = size.n_components - 1 if size.n_components else max(_UNKNOWN_LAST, choice.neuron)
            self.layer.value, self.number.value = choice.layer, choice.neuron
            self.random.disabled = not (size.layers and size.n_components)
            self.back.disabled, self.forward.disabled = not goes_back, not goes_on
            self.hide_dead.layout.display = "" if knows_dead else "none"

    def clear_entry(self) -> None:
        """Empty the entry, so that the same may be entered again."""
        with self._quiet:
            self.entry.value = ""
