"""`ne.DatasetPicker`: a registered dataset, or another by its address or folder, and the type of its activations."""

import os
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neurons.sources import DatasetSource, RecordSource
from neuron_explainer.widgets.parts import flexible
from neuron_explainer.widgets.picking.entries import place_and_type, type_in_dataset
from neuron_explainer.widgets.picking.settled_box import SettledBox
from neuron_explainer.widgets.quiet import Quiet
from neuron_explainer.widgets.weak_calls import weakly
from neuron_explainer.wording import without_credentials

_WIDE = "330px"


class DatasetPicker(SettledBox):
    """A widget to choose a neuron dataset, and the derived scalar type of its activations.

    It lists the registered datasets. Another is entered by its address or folder; if that does not say the type of its
    records, the type stands behind it: `https://host/data mlp_post_act`.

    Args:
        dataset: what is chosen first: a registered short name, an address or a folder.
        dst: the derived scalar type, or its name; None: the dataset's first.

    Attributes:
        dataset: the name, address or folder that is chosen. A trait, as is `dst`: they can be observed, linked and
            assigned. When one is observed to change, both have their new values.
        dst: the derived scalar type that is chosen.
        message: what is wrong with the last entry; hidden if nothing is.
        datasets, types, entry: the lists, and the field for an address or folder.

    Raises:
        UnknownDatasetError: the dataset is unknown, or lacks the derived scalar type.
        UnknownNameError: the derived scalar type is unknown.
        InvalidRequestError: an address or a folder of JSON files does not say its type, and `dst` is None.

    >>> import neuron_explainer as ne
    >>> picker = ne.DatasetPicker("tiny")
    >>> picker.observe(lambda change: print(change.new.value), "dst")
    >>> picker.dst = "attn_write_norm"
    attn_write_norm
    """

    def __init__(
        self,
        dataset: "str | os.PathLike[str] | RecordSource" = "tiny",
        dst: DerivedScalarType | str | None = None,
    ) -> None:
        is_own = isinstance(dataset, str | os.PathLike) or not hasattr(dataset, "first_choice")
        self._source: RecordSource = DatasetSource(dataset, dst) if is_own else dataset  # type: ignore[arg-type, assignment]
        self._quiet = Quiet()
        super().__init__()
        self.datasets = widgets.Dropdown(description="Dataset", layout=flexible(_WIDE))
        self.types = widgets.Dropdown(description="Activations", layout=flexible(_WIDE))
        self.entry = widgets.Text(
            description="Another",
            placeholder="an address or folder…",
            continuous_update=False,
            layout=flexible(_WIDE),
        )
        self.children = [self.datasets, self.types, self.entry, self.message]
        self._settle(*self._source.first_choice())
        for control, handler in (
            (self.datasets, self._dataset_chosen),
            (self.types, self._type_chosen),
            (self.entry, self._entered),
        ):
            control.observe(weakly(handler), names="value")
        if is_own:  # else it is part of a viewer
            self.stand_alone()

    def tell(self, told: Callable[[str, DerivedScalarType], None]) -> None:
        """Have a function called with each new dataset and type."""
        self._told = told

    def show(self, dataset: str, dst: DerivedScalarType) -> None:
        """Choose what is known to be there, without telling the function of `tell`."""
        with self.untold():
            self._settle(dataset, dst)

    def ask(self, name: str, value: Any) -> None:
        """Take what was assigned to a trait."""
        if self.is_settled(name, value):
            return
        if name == "dataset":
            self._go(value, None)
        else:
            self._settle(self.dataset, type_in_dataset(self._source, self.dataset, value))

    def __repr__(self) -> str:
        return f"<DatasetPicker of {self.dst.value} of {without_credentials(self.dataset)}>"

    def _go(self, dataset: str | os.PathLike[str], dst: DerivedScalarType | None) -> None:
        """Choose another dataset, in the present type if it has that."""
        name, first_type = self._source.include(dataset, dst)
        if dst is not None:
            self._settle(name, type_in_dataset(self._source, name, dst))
        else:
            self._settle(name, self.dst if self.dst in self._source.types(name) else first_type)

    def _settle(self, dataset: str, dst: DerivedScalarType) -> None:
        self.say("")
        self._show_lists(dataset, dst)
        self.settle(dataset=dataset, dst=dst)
        self.tell_all(dataset, dst)

    def _show_lists(self, dataset: str, dst: DerivedScalarType) -> None:
        names, types = self._source.datasets(), self._source.types(dataset)
        with self._quiet:
            if [str(value) for _, value in self.datasets.options] != names:
                self.datasets.options = [(without_credentials(name), _Dataset(name)) for name in names]
            self.datasets.value, self.datasets.disabled = dataset, len(names) == 1
            self.types.options = [(each.value, each) for each in types]
            self.types.value, self.types.disabled = dst, len(types) == 1
            self.entry.value = ""

    # From a control

    def _try(self, act: Callable[[], None]) -> None:
        """Do what a person asked for. An error is shown beneath, and the lists show what is still chosen."""
        try:
            act()
        except Exception as error:  # also those of observers
            self.say(error)

    def _dataset_chosen(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            self._try(lambda: self._go(change["new"], None))

    def _type_chosen(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on:
            self._try(lambda: self._settle(self.dataset, change["new"]))

    def _entered(self, change: dict[str, Any]) -> None:
        if not self._quiet.is_on and change["new"].strip():
            self._try(lambda: self._go(*place_and_type(change["new"])))


class _Dataset(str):
    """A dataset's name or address; its `repr`, which is part of its widget's, is without credentials."""

    def __repr__(self) -> str:
        return repr(without_credentials(str(self)))
