"""Errors of runs that make a dataset."""

from typing import Self

from neuron_explainer.errors.base import NeuronExplainerError
from neuron_explainer.wording import shown


class CollateError(NeuronExplainerError):
    """Base class of errors while a dataset is made. Saved work is kept, and the run can be resumed."""


class NonFiniteActivationError(CollateError, ArithmeticError):
    """A model computed an activation that is infinite or NaN.

    The message names the component, the token (or token pair) and its sequence; and, where the model is at hand, the
    sequence's text and the place and layer at which such numbers appear first.
    """

    def __init__(
        self,
        layer: int,
        component: int,
        sequence_index: int,
        entry: int,
        value: float,
        text: str = "",
        where_first: str = "",
    ) -> None:
        self.layer = layer
        self.component = component
        self.sequence_index = sequence_index
        self.entry = entry
        self.value = value
        of_text = f", {shown(text)}" if text else ""
        super().__init__(
            f"The activation of component {component} of layer {layer} is {value} at entry {entry} of sequence "
            f"{sequence_index}{of_text}. {where_first or 'Use a wider dtype, such as dtype=torch.float32.'} Statistics "
            "need finite values; if a wider dtype has none either, leave the text out."
        )


class BadDocumentError(CollateError, ValueError):
    """A text of the corpus cannot be read. `where` names it. The work done before it is kept."""

    def __init__(self, where: str, what: str) -> None:
        self.where = where
        super().__init__(f"{where}: {what}. Fix or remove the text, then run the same command again to continue.")


class CorpusChangedError(CollateError, ValueError):
    """A run was resumed with texts that differ from those it started with."""


class DatasetExistsError(CollateError, FileExistsError):
    """The output folder already holds a dataset, or an unfinished run, with other settings."""


class OutOfSpaceError(CollateError, OSError):
    """The disk is full. Files written before are intact."""


class ExplainingStoppedError(NeuronExplainerError, RuntimeError):
    """The work on many components stopped at an error that all would meet, its cause. What is done is kept.

    Attributes:
        folder: where it is kept.
        n_done: how many components are done.
        n_components: how many there are.
    """

    def __init__(self, folder: str, n_done: int, n_components: int, error: Exception) -> None:
        self.folder = folder
        self.n_done = n_done
        self.n_components = n_components
        said = str(error)
        end = "" if said.endswith((".", "!", "?", "…")) else "."
        super().__init__(
            f"{said}{end} {n_done:,} of {n_components:,} components are done and kept in {folder}: make the same call "
            "again to go on."
        )


class CollateStopped(KeyboardInterrupt):
    """A run was interrupted, as by Ctrl-C or a notebook's stop button. It is no `Exception`, as its base is none.

    Attributes:
        folder: where the work is saved; None: nothing is saved.
    """

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        super().__init__(
            "Stopped before the first batch was done. Nothing is saved."
            if folder is None
            else f"Stopped. The work is saved in {folder}: make the same call again to go on."
        )

    def __reduce__(self) -> tuple[type[Self], tuple[str | None]]:
        return type(self), (self.folder,)


class WorkerLostError(CollateError, RuntimeError):
    """Worker processes kept failing, so the run was stopped."""
