"""Every error that this library raises on its own account.

All are `NeuronExplainerError`; each also is the built-in exception that a caller would expect (a `KeyError` for a name
that is not there, a `ValueError` for a bad value), so code that does not know this module can still catch it. A message
says what was asked, what was found, and what to do or which choices there are.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

N_NEAREST = 5
"""How many of the names that could be meant an error lists."""


class NeuronExplainerError(Exception):
    """Base class of the library's errors."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled as its class and its message; these classes are made from more than a message.
        return _remade, (type(self), self.args, self.__dict__)


def _remade(
    kind: type[NeuronExplainerError], arguments: tuple[Any, ...], state: dict[str, Any]
) -> NeuronExplainerError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(state)
    return error


def nearest_first(asked: str, choices: Iterable[str]) -> list[str]:
    """The choices, those most like `asked` first."""

    def unlikeness(choice: str) -> tuple[float, str]:
        return -difflib.SequenceMatcher(None, asked.lower(), choice.lower()).ratio(), choice

    return sorted(choices, key=unlikeness)


def choices_sentence(choices: Sequence[str]) -> str:
    """What an error says of the names that can be chosen: the five nearest (they come first), or all if so few."""
    if not choices:
        return "There is nothing to choose from."
    listed = ", ".join(choices[:N_NEAREST])
    if len(choices) <= N_NEAREST:
        return f"Choose one of: {listed}."
    return f"Did you mean: {listed}? ({len(choices)} in all: the error's `choices`.)"


class UnknownNameError(NeuronExplainerError, KeyError):
    """A name that does not exist was asked for. `choices` lists the names that do exist, the nearest first."""

    def __init__(self, kind: str, asked: str, choices: Iterable[str], hint: str = "") -> None:
        self.kind = kind
        self.asked = asked
        self.choices = nearest_first(asked, choices)
        self.message = f"Unknown {kind} {asked!r}. {choices_sentence(self.choices)}" + (f" {hint}" if hint else "")
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would show the repr of its message
        return self.message


class InvalidRequestError(NeuronExplainerError, ValueError):
    """A value that the caller gave is refused where it entered: out of range, contradictory, or of the wrong form."""


class MisconfiguredError(InvalidRequestError, AssertionError):
    """A configuration contradicts itself or lacks what was asked of it.

    Also an AssertionError, because the interface this library follows asserted here.
    """


class InvalidIndexError(MisconfiguredError):
    """An index, trace or ablation is malformed or contradicts itself."""


class IndexOutOfRangeError(InvalidIndexError, IndexError):
    """An index names a layer or position that the model or the prompt does not have."""


class CheckpointError(NeuronExplainerError, ValueError):
    """A checkpoint cannot become a model. `file` and `tensor` say where the trouble is, where that is known."""

    def __init__(self, message: str, *, file: object = None, tensor: str | None = None) -> None:
        self.file = None if file is None else str(file)
        self.tensor = tensor
        super().__init__(message)


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """A checkpoint, or a file that it needs, is not where it was looked for."""

    def __str__(self) -> str:  # an OSError would show its arguments as a tuple
        return str(self.args[0])


class MalformedCheckpointError(CheckpointError):
    """A checkpoint's file is cut off, or its header says what cannot be."""


class MissingTensorError(CheckpointError):
    """A tensor that the model needs is not in the checkpoint."""


class UnexpectedTensorError(CheckpointError):
    """The checkpoint holds a tensor that the model has no use for, so the two may not belong together."""


class TensorShapeError(CheckpointError):
    """A tensor of the checkpoint does not have the shape that the model's configuration asks for."""


class NonFiniteTensorError(CheckpointError):
    """A tensor holds NaN or infinity, in the checkpoint or after conversion to the requested dtype."""


class UnsupportedCheckpointError(CheckpointError):
    """The checkpoint is of a kind, architecture or data type that this library does not read."""


class TokenizerError(NeuronExplainerError, ValueError):
    """A tokenizer cannot be read, is of a kind that is not supported, or does not belong to its model."""


class TokenizerMismatchError(TokenizerError):
    """The tokenizer's vocabulary and the model's are not the same."""


class NotOneTokenError(TokenizerError):
    """A text was to be exactly one token. `pieces` are the tokens that it is instead."""

    def __init__(self, text: str, pieces: list[str], hint: str = "") -> None:
        self.text = text
        self.pieces = pieces
        shown = " + ".join(repr(piece) for piece in pieces) or "no tokens at all"
        message = f"{text!r} is not one token of this model but {len(pieces)}: {shown}."
        super().__init__(f"{message} {hint}" if hint else message)


class MalformedRecordError(NeuronExplainerError, ValueError):
    """Bytes that should be a neuron record are not one, or a record's parts contradict each other.

    `source` is the file or URL, None for a record that was made in memory; `problem` says what is wrong; `kind` is what
    it should be.
    """

    def __init__(self, problem: str, source: str | None = None, kind: str = "neuron record") -> None:
        self.problem = problem
        self.source = source
        self.kind = kind
        super().__init__(problem if source is None else f"{source} is no {kind}: {problem}")


class MalformedDatasetError(NeuronExplainerError, ValueError):
    """A packed neuron dataset's file contradicts its layout. `source` is the file, `problem` what is wrong."""

    def __init__(self, problem: str, source: str) -> None:
        self.problem = problem
        self.source = source
        super().__init__(f"{source} is no sound part of a packed neuron dataset: {problem}")


class UnsupportedLocationError(InvalidRequestError):
    """A location is neither an http(s) address nor a local path."""


class MissingFileError(NeuronExplainerError, FileNotFoundError):
    """There is nothing at a location: no such file, or the server answered 404 or 410."""

    def __init__(self, location: str, answer: str = "there is no such file") -> None:
        self.location = location
        super().__init__(f"{location}: {answer}")


class DownloadError(NeuronExplainerError, OSError):
    """An address could not be read: unreachable, cut short, or answered with an error.

    It does not say that the thing is not there; that is a MissingFileError. `status_code` is the HTTP status where the
    server answered at all.
    """

    def __init__(self, location: str, problem: str, status_code: int | None = None) -> None:
        self.location = location
        self.problem = problem
        self.status_code = status_code
        super().__init__(f"{location}: {problem}")


class TooLargeError(NeuronExplainerError, OSError):
    """A file or an answer is larger than what was allowed for it."""

    def __init__(self, location: str, limit: int) -> None:
        self.location = location
        self.limit = limit
        super().__init__(f"{location} is larger than the {limit:,} bytes that are read at most")


class NeuronNotFoundError(NeuronExplainerError, FileNotFoundError, IndexError):
    """A dataset was reached and has no such neuron.

    Carries `status_code` 404 and `detail`, as the web framework's exception did in the interface this library follows.
    """

    status_code = 404

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class UnknownDatasetError(UnknownNameError, AssertionError):
    """No neuron dataset is registered under this name and derived scalar type, or at this path."""


class NotRecordedError(NeuronExplainerError, KeyError):
    """A tensor was asked of a recording that does not hold it."""

    def __str__(self) -> str:  # KeyError would show the repr of its message
        return str(self.args[0])


class InterventionNeverFiredError(NeuronExplainerError, RuntimeError):
    """The context of an intervention ended without the intervention having been applied once."""


class InterventionResultError(NeuronExplainerError, ValueError, TypeError):
    """What an intervention returned cannot take the place of the tensor it was given."""


class PromptError(InvalidRequestError):
    """A prompt that no model can run: empty, too long, or with token ids outside of the vocabulary."""


class MissingPackageError(NeuronExplainerError, ImportError):
    """A package that only some uses need is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        self.package = package
        super().__init__(
            f"{why}, and reading that needs the package {package!r}, which is not installed. "
            f"Install it with `pip install {package}`, or this project with its extra [{extra}].",
            name=package,
        )


class AutoencoderFormatError(InvalidRequestError):
    """An autoencoder's file lacks a tensor, has one that does not fit, or asks for what cannot be done with it."""


class AutoencoderMismatchError(MisconfiguredError):
    """An autoencoder is of another model, place or layer than the one it is to be used with."""


class CollateError(NeuronExplainerError):
    """Base class of what can go wrong while a dataset is made; what was saved before stays and can be resumed."""


class NonFiniteActivationError(CollateError, ArithmeticError):
    """A model gave an activation that is infinite or not a number."""

    def __init__(self, layer: int, component: int, sequence_index: int, entry: int, value: float) -> None:
        self.layer = layer
        self.component = component
        self.sequence_index = sequence_index
        self.entry = entry
        self.value = value
        super().__init__(
            f"The activation of component {component} of layer {layer} is {value} at entry {entry} of sequence "
            f"{sequence_index}. Statistics of such values mean nothing: try a wider dtype (dtype=torch.float32), or "
            "leave the text out."
        )

    def __reduce__(self) -> tuple[type, tuple[int, int, int, int, float]]:  # it comes from other processes, too
        return type(self), (self.layer, self.component, self.sequence_index, self.entry, self.value)


class BadDocumentError(CollateError, ValueError):
    """A text of the corpus cannot be read. Progress up to it is kept: mend or remove it and run again."""

    def __init__(self, where: str, what: str) -> None:
        self.where = where
        super().__init__(f"{where}: {what}. Mend or remove it and run the same command again: it goes on from here.")


class CorpusChangedError(CollateError, ValueError):
    """A run was resumed with other texts than those it began with."""


class DatasetExistsError(CollateError, FileExistsError):
    """There is a dataset, or an unfinished run, made with other settings in the folder asked for."""


class OutOfSpaceError(CollateError, OSError):
    """A file could not be written because the disk is full; the files written before are intact."""


class WorkerLostError(CollateError, RuntimeError):
    """Workers were lost again and again, so that the run was given up."""


class NothingToDifferentiateError(MisconfiguredError):
    """Gradients were asked for, and neither a loss nor a trace says of what."""


class MissingSettingError(MisconfiguredError):
    """A derived scalar is about something that the configuration does not name. `field` is DstConfig's field."""

    def __init__(self, field: str, what: str) -> None:
        self.field = field
        super().__init__(f"This needs {what}, and DstConfig's {field} is not set.")


class MalformedStoreError(NeuronExplainerError, ValueError):
    """A file of derived scalars is none, or is damaged. `source` is the file, `problem` what is wrong."""

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source} holds no derived scalars that can be read: {problem}.")


class NotDerivedError(UnknownNameError):
    """A result was asked for that was not derived; `choices` lists what was."""
