"""A box with traits that change together, once what is assigned has been checked."""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from neuron_explainer.views.document import NO_MATHEMATICS
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.messages import error_message, hint_message
from neuron_explainer.widgets.parts import widgets_in
from neuron_explainer.widgets.replaced import displayed, watch
from neuron_explainer.widgets.snapshot import SnapshotDisplay


class AskedTrait(traitlets.TraitType[Any, Any]):
    """A trait of a SettledBox: what is assigned is asked of the box, which checks it and settles all its traits."""

    def set(self, obj: Any, value: Any) -> None:
        """Ask the box, which raises an error or settles."""
        obj.ask(self.name, value)


class SettledBox(widgets.VBox):
    """A box with `AskedTrait`s, those of a dataset and its type among them, and a message beneath.

    Observers are called when all traits have their new values, once for each that changed.

    Attributes:
        message: what is wrong with the last entry, or worth knowing; hidden if that is nothing.
    """

    if TYPE_CHECKING:  # as a reader sees the traits

        @property
        def dataset(self) -> str:
            """The dataset's name, address or folder; or the model's name."""

        @dataset.setter
        def dataset(self, value: str | os.PathLike[str]) -> None: ...

        @property
        def dst(self) -> DerivedScalarType:
            """The derived scalar type."""

        @dst.setter
        def dst(self, value: DerivedScalarType | str) -> None: ...

    else:
        dataset = AskedTrait()
        dst = AskedTrait()

    def __init__(self) -> None:
        super().__init__(layout=widgets.Layout(width="100%", max_width="100%"))
        self.message = widgets.HTML()
        self._snapshot = SnapshotDisplay(self, self._as_html)
        self._told: Callable[..., None] | None = None
        self.say("")

    @abstractmethod
    def ask(self, name: str, value: Any) -> None:
        """Take what was assigned to a trait: settle, or raise an error."""

    def settle(self, **values: Any) -> None:
        """Set traits to values that have been checked."""
        with self.hold_trait_notifications():
            for name, value in values.items():
                traitlets.TraitType.set(self.traits()[name], self, value)
        self._snapshot.update()

    def tell_all(self, *what: Any) -> None:
        """Call the function that is told of each new choice, if there is one."""
        if self._told is not None:
            self._told(*what)

    @contextmanager
    def untold(self) -> Iterator[None]:
        """Context manager: within it, that function is not called."""
        told, self._told = self._told, None
        try:
            yield
        finally:
            self._told = told

    def is_settled(self, name: str, value: Any) -> bool:
        """Whether a trait has this very value."""
        return name in self._trait_values and bool(self._trait_values[name] == value)

    def say(self, what: BaseException | str) -> None:
        """Show an error, or a hint; an empty text for none."""
        self.message.value = error_message(what, None) if isinstance(what, BaseException) else hint_message(what)
        self.message.layout.display = "none" if what == "" else ""

    def stand_alone(self) -> None:
        """Close this box once its cell has replaced it. A box within a viewer is closed with that."""
        watch(self)

    def close(self) -> None:
        """Close the widget and all its parts."""
        if hasattr(self, "_snapshot"):  # else the constructor has failed
            self._snapshot.finish()
        for part in widgets_in(self):
            part.close()
        super().close()

    def _ipython_display_(self, **_: object) -> None:
        self._snapshot.show()
        displayed(self)

    def _as_html(self) -> str:
        """What a saved notebook has, where the widget cannot be shown."""
        return f'<div class="{NO_MATHEMATICS}">{hint_message(repr(self)[1:-1])}</div>'
