"""`ne.NodePicker`: a neuron, head or latent, to choose beside one's own work."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from neuron_explainer.activations.derived_scalars.indices import NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeGiven
from neuron_explainer.components.notes.bookmarks import Bookmark
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.vocabulary.checks import checked_flag, checked_text, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neurons.choices import NeuronChoice
from neuron_explainer.widgets.neurons.sources import RecordSource
from neuron_explainer.widgets.picking.bookmark_bar import BookmarkBar
from neuron_explainer.widgets.picking.entries import (
    choice_of_dataset,
    choice_of_node,
    choice_of_text,
    choice_of_type,
)
from neuron_explainer.widgets.picking.moves import History, moved_among_living, random_choice
from neuron_explainer.widgets.picking.node_bar import NodeBar
from neuron_explainer.widgets.picking.settled_box import AskedTrait, SettledBox
from neuron_explainer.widgets.picking.sources_given import first_choice_of, source_given
from neuron_explainer.widgets.weak_calls import weakly

if TYPE_CHECKING:
    from neuron_explainer.models.model_context import ModelContext


class NodePicker(SettledBox):
    """A widget to choose a neuron, head or latent of a dataset or model: fields, buttons, and an entry for names.

    Where an entry is wrong, a message beneath says so, and the last good node stays. The entry takes "L5N131", "5:131",
    "layer 5 neuron 131", the number of a component in the present layer, the address of a record, or a link to
    Neuronpedia.

    Args:
        source: the name, address or folder of a neuron dataset; a model, or its name. A name of both is the dataset's.
        node: what is chosen first, by its name, such as "L2N5", or an index; None: the first component.
        dst: the derived scalar type of the activations, or its name; None: the dataset's first.
        hide_dead: whether components that are never active are passed over, where that is known: in packed datasets.

    Attributes:
        dataset: the dataset's or model's name. A trait, as are `dst` and `node`: they can be observed, linked and
            assigned. When one is observed to change, all have their new values.
        dst: the derived scalar type.
        node: the NodeIndex of the component, at all tokens; a name is taken as well.
        message: what is wrong with the last entry; hidden if nothing is.
        bar: the fields and buttons.
        bookmarks: the star, its note, and the bookmarks of this dataset or model.

    Raises:
        UnknownDatasetError: there is no such dataset or model, or it lacks the derived scalar type.
        UnknownNameError: the derived scalar type is unknown.
        NodeNameError: a text is not the name of a node.
        InvalidRequestError: the dataset or model does not have the component; or `source` is neither of these.

    >>> import neuron_explainer as ne
    >>> picker = ne.NodePicker("tiny")
    >>> picker.observe(lambda change: print(ne.parse_node(change.new)), "node")
    >>> picker.go("layer 2, neuron 5")
    L2N5
    """

    if TYPE_CHECKING:  # as a reader sees the traits

        @property
        def node(self) -> NodeIndex:
            """The component, at all tokens."""

        @node.setter
        def node(self, value: NodeGiven) -> None: ...

    else:
        node = AskedTrait(allow_none=True)

    def __init__(
        self,
        source: "str | os.PathLike[str] | ModelContext | RecordSource" = "tiny",
        *,
        node: "NodeGiven | NeuronChoice | None" = None,
        dst: DerivedScalarType | str | None = None,
        hide_dead: bool = True,
    ) -> None:
        hides_dead = checked_flag("hide_dead", hide_dead)
        self._source = source_given(source, dst)
        first = first_choice_of(self._source, node, dst)
        self._history = History()
        super().__init__()
        self.bar = NodeBar(hides_dead)
        self.bookmarks = BookmarkBar(weakly(self._mark_picked), weakly(self.say))
        self.children = [self.bar, self.bookmarks, self.message]
        for field, handler in (
            (self.bar.layer, self._number_typed),
            (self.bar.number, self._number_typed),
            (self.bar.entry, self._entered),
            (self.bar.hide_dead, self._hiding_changed),
        ):
            field.observe(weakly(handler), names="value")
        for control, act in (
            (self.bar.previous, self._previous_clicked),
            (self.bar.next, self._next_clicked),
            (self.bar.random, self._random_clicked),
            (self.bar.back, self._back_clicked),
            (self.bar.forward, self._forward_clicked),
        ):
            control.on_click(weakly(act))
        self._settle(first)
        if source is not self._source:  # else it is part of a viewer
            self.stand_alone()

    @property
    def choice(self) -> NeuronChoice:
        """The dataset, type, layer and number that are chosen."""
        return self._choice

    def go(self, text: str) -> None:
        """Choose what a person would enter.

        Args:
            text: a name, a pair, words, a number, an address or a link, as above.

        Raises:
            NodeNameError: it is not understood; the error shows what is.
            InvalidRequestError: there is no such component; or a link is of another dataset, which cannot be chosen
                here.
            UnknownDatasetError: the dataset of a link lacks the type of its records.

        An example: `picker.go("L2N131")`.
        """
        self._settle(choice_of_text(self._source, self._choice, checked_text("text", text)))

    def back(self) -> None:
        """Choose what was chosen before; nothing happens at the beginning. An example: `picker.back()`."""
        self._revisit(-1)

    def forward(self) -> None:
        """Choose what `back` left; nothing happens at the end. An example: `picker.forward()`."""
        self._revisit(1)

    def random(self, seed: int | None = None) -> None:
        """Choose any component of any layer; a living one if dead ones are hidden.

        Args:
            seed: a whole number, for the same component each time; None: another one each time.

        Raises:
            InvalidRequestError: the size of the dataset is unknown, or `seed` is not a whole number.

        An example: `picker.random(seed=0)`.
        """
        if seed is not None and (seed := whole_number(given := seed)) is None:
            raise InvalidRequestError(f"seed is {shown(given)}. Give a whole number.")
        choice = random_choice(self._source, self._size, self._choice, self.hides_dead, seed)
        if choice is None:
            raise InvalidRequestError(f"The size of {self._choice.dataset_shown} is unknown. Choose by name.")
        self._settle(choice)

    def bookmark(self, note: str = "") -> None:
        """Mark the component, with a note; one that is marked already gets the new note. `ne.bookmarks` lists them.

        Raises:
            InvalidRequestError: the note is not a text or too long, or the file would become too large.
            MalformedRecordError: the file that keeps bookmarks is damaged.

        An example: `picker.bookmark("names after a quotation")`.
        """
        self.bookmarks.add(note)

    def remove_bookmark(self) -> None:
        """Take the component's mark away; nothing happens if it has none.

        Raises:
            MalformedRecordError: the file that keeps bookmarks is damaged.

        An example: `picker.remove_bookmark()`.
        """
        self.bookmarks.remove()

    @property
    def hides_dead(self) -> bool:
        """Whether dead components are passed over."""
        return bool(self.bar.hide_dead.value)

    def tell(self, told: Callable[[NeuronChoice, bool], None]) -> None:
        """Have a function called with each new choice, and with whether more of what is typed may follow."""
        self._told = told

    def show(self, choice: NeuronChoice) -> None:
        """Choose what is known to be there, without telling the function of `tell`."""
        with self.untold():
            self._settle(choice)

    def ask(self, name: str, value: Any) -> None:
        """Take what was assigned to a trait."""
        if self.is_settled(name, value):
            return
        if name == "dataset":
            self._settle(choice_of_dataset(self._source, self._choice, value))
        elif name == "dst":
            self._settle(choice_of_type(self._source, self._choice, value))
        elif isinstance(value, str):
            self.go(value)
        else:
            self._settle(choice_of_node(self._source, self._choice, value))

    def __repr__(self) -> str:
        return f"<NodePicker of {self._choice}>"

    def _settle(self, choice: NeuronChoice, is_typed: bool = False, notes: bool = True) -> None:
        self._choice = choice
        self._size = self._source.size(choice.dataset, choice.dst)
        if notes:
            self._history.note(choice, is_typed)
        living = self._source.living(choice.dataset, choice.dst, choice.layer)
        is_dead = living is not None and choice.neuron not in living
        self.say(f"{choice} is never above 0 in this dataset." if is_dead else "")
        self._show(knows_dead=living is not None)
        self.settle(dataset=choice.dataset, dst=choice.dst, node=choice.node)
        self.tell_all(choice, is_typed)

    def _show(self, knows_dead: bool) -> None:
        history = self._history
        goes_back, goes_on = history.ahead(-1) is not None, history.ahead(1) is not None
        self.bar.show(self._choice, self._size, knows_dead=knows_dead, goes_back=goes_back, goes_on=goes_on)
        self.bookmarks.show(self._choice)

    def _revisit(self, step: int) -> None:
        choice = self._history.step(step)
        if choice is not None:
            self._settle(choice, notes=False)

    # From a control

    def _try(self, act: Callable[[], None]) -> bool:
        """Do what a person asked for; an error is shown beneath. Whether there was none."""
        try:
            act()
        except Exception as error:  # also those of observers
            self.say(error)
            return False
        return True

    def _number_typed(self, _: object) -> None:
        if self.bar.is_quiet:
            return
        now, layer, number = self._choice, self.bar.layer.value, self.bar.number.value
        choice = NeuronChoice(now.dataset, now.dst, layer, number)

        def settle() -> None:
            self._size.check(choice)
            self._settle(choice, is_typed=True)

        self._try(settle)

    def _entered(self, change: dict[str, Any]) -> None:
        if not self.bar.is_quiet and change["new"].strip() and self._try(lambda: self.go(change["new"])):
            self.bar.clear_entry()

    def _hiding_changed(self, _: object) -> None:
        self.say("")

    def _previous_clicked(self, _: object) -> None:
        self._try(lambda: self._move(-1))

    def _next_clicked(self, _: object) -> None:
        self._try(lambda: self._move(1))

    def _move(self, step: int) -> None:
        self._settle(moved_among_living(self._source, self._size, self._choice, step, self.hides_dead))

    def _random_clicked(self, _: object) -> None:
        self._try(self.random)

    def _back_clicked(self, _: object) -> None:
        self._try(self.back)

    def _forward_clicked(self, _: object) -> None:
        self._try(self.forward)

    def _mark_picked(self, mark: Bookmark) -> None:
        def pick() -> None:
            typed = choice_of_type(self._source, self._choice, mark.dst)
            self._settle(choice_of_text(self._source, typed, mark.name))

        if not self._try(pick):
            self.bookmarks.refresh()
