"""All errors that this library raises.

Each is a `NeuronExplainerError` and also the built-in exception that a caller would expect (a `KeyError` for an unknown
name, a `ValueError` for a bad value), so code that does not know this module can still catch it. A message says what
was given, what is wrong, and what to choose or do.

>>> import neuron_explainer as ne
>>> try:
...     ne.load_neuron("tinny", 2, 5)
... except ne.errors.UnknownDatasetError as error:
...     print(error.choices[0])
tiny
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from neuron_explainer._error_copies import made_again, state_of
from neuron_explainer.wording import N_LISTED, with_article
from neuron_explainer.wording import choices_sentence as choices_sentence
from neuron_explainer.wording import nearest_first as nearest_first
from neuron_explainer.wording import no_layer as no_layer
from neuron_explainer.wording import number_ranges as number_ranges
from neuron_explainer.wording import shown as shown


class NeuronExplainerError(Exception):
    """Base class of the library's errors."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle would call the class with the message alone, but many of these constructors take other arguments.
        return made_again, (type(self), self.args, state_of(self))


class UnknownNameError(NeuronExplainerError, KeyError):
    """An unknown name was asked for. `choices` lists the known names, the nearest first.

    Where something else than a text was asked for, the message says so, and guesses no names.
    """

    def __init__(self, kind: str, asked: object, choices: Iterable[str], hint: str = "") -> None:
        self.kind = kind
        self.asked = asked if isinstance(asked, str) else shown(asked)
        if isinstance(asked, str):
            self.choices = nearest_first(asked, choices)
            sentences = [f"Unknown {kind} {shown(asked)}.", choices_sentence(self.choices)]
        else:
            self.choices = list(choices)
            sentences = [f"{shown(asked)} is of type {type(asked).__name__}. Give the name of {with_article(kind)}."]
            sentences += [choices_sentence(self.choices)] if len(self.choices) <= N_LISTED else []
        self.message = " ".join([*sentences, *([hint] if hint else [])])
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would show the message's repr
        return self.message


class UnknownMemberError(UnknownNameError, ValueError):
    """An enum of the vocabulary was called with a value that none of its members has."""


class InvalidRequestError(NeuronExplainerError, ValueError):
    """An argument is refused: out of range, contradictory, or of the wrong form."""


class UnknownArgumentError(InvalidRequestError, TypeError):
    """A call named an argument that does not exist. `choices` lists those that do, nearest first.

    >>> print(UnknownArgumentError("Sampling", "temp", ["temperature", "top_k", "top_p", "seed"]))
    Sampling() has no argument 'temp'. Choose one of: temperature, top_k, top_p, seed.
    """

    def __init__(self, called: str, asked: str, known: Iterable[str]) -> None:
        self.asked = asked
        self.choices = nearest_first(asked, known)
        super().__init__(f"{called}() has no argument {shown(asked)}. {choices_sentence(self.choices)}")


class MisconfiguredError(InvalidRequestError, AssertionError):
    """A configuration contradicts itself, or lacks something that the request needs.

    Also an AssertionError, because the interface that this library follows uses assertions here.
    """


class InvalidIndexError(MisconfiguredError):
    """An index, trace or ablation is malformed or contradicts itself."""


class IndexOutOfRangeError(InvalidIndexError, IndexError):
    """An index names a layer or position that the model or the prompt does not have."""


class CheckpointError(NeuronExplainerError, ValueError):
    """A checkpoint cannot be loaded. `file` and `tensor` name the place of the problem; None if unknown."""

    def __init__(self, message: str, *, file: object = None, tensor: str | None = None) -> None:
        self.file = None if file is None else str(file)
        self.tensor = tensor
        super().__init__(message)


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """A checkpoint, or one of its files, was not found."""

    def __str__(self) -> str:  # an OSError would show its arguments as a tuple
        return str(self.args[0])


class MalformedCheckpointError(CheckpointError):
    """A checkpoint's file is cut off, or its header is invalid."""


class MissingTensorError(CheckpointError):
    """The checkpoint lacks a tensor that the model needs."""


class UnexpectedTensorError(CheckpointError):
    """The checkpoint holds a tensor that the model does not use, so the two may not belong together."""


class TensorShapeError(CheckpointError):
    """A tensor of the checkpoint does not have the shape that the model's config requires."""


class NonFiniteTensorError(CheckpointError):
    """A tensor contains NaN or infinity, in the checkpoint or after conversion to the requested dtype."""


class UnsupportedCheckpointError(CheckpointError):
    """The checkpoint's format, architecture or data type is unsupported."""


class TokenizerError(NeuronExplainerError, ValueError):
    """A tokenizer cannot be read, is of an unsupported kind, or does not belong to its model."""


class TokenizerMismatchError(TokenizerError):
    """The tokenizer's vocabulary differs from the model's."""


class NotOneTokenError(TokenizerError):
    """A text that must be exactly one token is not. `pieces` are the tokens that it is split into."""

    def __init__(self, text: str, pieces: list[str], hint: str = "") -> None:
        self.text = text
        self.pieces = pieces
        found = f"It is {len(pieces)} tokens: {' + '.join(map(repr, pieces))}." if pieces else "It has no tokens."
        message = f"{text!r} is not one token of this model. {found}"
        super().__init__(f"{message} {hint}" if hint else message)


class MalformedRecordError(NeuronExplainerError, ValueError):
    """A file is not a valid neuron record (or another `kind` of record), or a record's parts contradict each other.

    `source` is the file or address, None for a record made in memory; `problem` says what is wrong; `kind` is the kind
    of file that was expected.
    """

    def __init__(self, problem: str, source: str | None = None, kind: str = "neuron record") -> None:
        self.problem = problem
        self.source = source
        self.kind = kind
        super().__init__(problem if source is None else f"{source} is not {with_article(kind)}: {problem}")


class MalformedDatasetError(NeuronExplainerError, ValueError):
    """A file of a packed neuron dataset is invalid. `source` is the file; `problem` says what is wrong."""

    def __init__(self, problem: str, source: str) -> None:
        self.problem = problem
        self.source = source
        super().__init__(f"{source} is not a valid packed-dataset file: {problem}")


class UnsupportedLocationError(InvalidRequestError):
    """A location is neither an http(s) address nor a local path."""


class MissingFileError(NeuronExplainerError, FileNotFoundError):
    """A file was not found: it does not exist, or the server answered 404 or 410. `location` is its path or address."""

    def __init__(self, location: str, answer: str = "file not found") -> None:
        self.location = location
        super().__init__(f"{location}: {answer}")


class DownloadError(NeuronExplainerError, OSError):
    """A download failed: the server could not be reached, broke off, or answered with an error.

    A server that says the file does not exist is a MissingFileError instead. `location` is the address, `problem` says
    what happened, and `status_code` is the HTTP status; None if the server did not answer.
    """

    def __init__(self, location: str, problem: str, status_code: int | None = None) -> None:
        self.location = location
        self.problem = problem
        self.status_code = status_code
        super().__init__(f"{location}: {problem}")


class TooLargeError(NeuronExplainerError, OSError):
    """A file or a server's answer is larger than `limit` bytes."""

    def __init__(self, location: str, limit: int) -> None:
        self.location = location
        self.limit = limit
        super().__init__(f"{location} exceeds the limit of {limit:,} bytes")


class NeuronNotFoundError(NeuronExplainerError, FileNotFoundError, IndexError):
    """The dataset does not have the neuron that was asked for.

    `status_code` (404) and `detail` (the message) are those of a web framework's HTTP exception, which the interface
    that this library follows raises here.
    """

    status_code = 404

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class UnknownDatasetError(UnknownNameError, AssertionError):
    """No neuron dataset is registered under the given name and derived scalar type, or at the given path."""

    @classmethod
    def of_scalar(cls, short_name: str, dst: str, available: Iterable[str]) -> "UnknownDatasetError":
        """The error for a known name without a derived scalar type. `choices` lists the types that it has.

        >>> print(UnknownDatasetError.of_scalar("tiny", "mlp_pre_act", ["attn_write_norm", "mlp_post_act"]))
        tiny has no mlp_pre_act. Choose one of: mlp_post_act, attn_write_norm.
        """
        error = cls(f"derived scalar type of {short_name}", dst, available)
        error.message = f"{short_name} has no {dst}. {choices_sentence(error.choices)}"
        error.args = (error.message,)
        return error


class NotRecordedError(NeuronExplainerError, KeyError):
    """The recording does not hold the tensor that was asked for."""

    def __str__(self) -> str:  # KeyError would show the message's repr
        return str(self.args[0])


class InterventionNeverFiredError(NeuronExplainerError, RuntimeError):
    """The context of an intervention ended before the intervention was applied."""


class InterventionResultError(NeuronExplainerError, ValueError, TypeError):
    """An intervention returned something that cannot replace the tensor it was given."""


class PromptError(InvalidRequestError):
    """The model cannot run the prompt: it is empty, too long, or has token ids outside the vocabulary."""


class MissingPackageError(NeuronExplainerError, ImportError):
    """An optional package is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        self.package = package
        super().__init__(
            f"{why}. This needs the package {package!r}, which is not installed. "
            f"Run `pip install {package}`, or install neuron_explainer with its extra [{extra}].",
            name=package,
        )


class AutoencoderFormatError(InvalidRequestError):
    """An autoencoder's file lacks a tensor, has a tensor of the wrong shape, or needs an unsupported feature."""


class AutoencoderMismatchError(MisconfiguredError):
    """An autoencoder was trained on another model, place or layer than it is used with."""


class CollateError(NeuronExplainerError):
    """Base class of errors while a dataset is made. Saved work is kept, and the run can be resumed."""


class NonFiniteActivationError(CollateError, ArithmeticError):
    """A model computed an activation that is infinite or NaN."""

    def __init__(self, layer: int, component: int, sequence_index: int, entry: int, value: float) -> None:
        self.layer = layer
        self.component = component
        self.sequence_index = sequence_index
        self.entry = entry
        self.value = value
        super().__init__(
            f"The activation of component {component} of layer {layer} is {value} at entry {entry} of sequence "
            f"{sequence_index}. Statistics need finite values: use a wider dtype (dtype=torch.float32), or leave the "
            "text out."
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


class WorkerLostError(CollateError, RuntimeError):
    """Worker processes kept failing, so the run was stopped."""


class UnmetNeedError(MisconfiguredError):
    """A derived scalar needs something that was not given. "This" at the start of the message stands for the scalar."""

    @staticmethod
    @contextmanager
    def of(scalar: str) -> Iterator[None]:
        """Within this context, the message of such an error names the derived scalar."""
        try:
            yield
        except UnmetNeedError as error:
            error.args = (re.sub("^This ", f"{scalar} ", str(error)),)
            raise


class NothingToDifferentiateError(UnmetNeedError):
    """Gradients were requested without a loss or a trace to differentiate."""


class MissingSettingError(UnmetNeedError):
    """A derived scalar needs a setting that the DstConfig lacks. `field` is the name of the setting."""

    def __init__(self, field: str, need: str, remedy: str | None = None) -> None:
        self.field = field
        super().__init__(f"This needs {need}. " + (remedy or f"Set DstConfig's `{field}`."))


class MalformedStoreError(NeuronExplainerError, ValueError):
    """A file is not a valid file of derived scalars. `source` is the file; `problem` says what is wrong."""

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source} is not a valid file of derived scalars: {problem}.")


class NotDerivedError(UnknownNameError):
    """A result was asked for that was not derived. `choices` lists what was derived."""

    @classmethod
    def of_layer(cls, subject: str, layer: object, derived: Iterable[int | None]) -> "NotDerivedError":
        """The error for a layer that was not derived.

        >>> print(NotDerivedError.of_layer("mlp_post_act", 9, range(4)))
        mlp_post_act has no layer 9; derived: 0–3.
        """
        layers = list(derived)
        message = no_layer(subject, layer, (number for number in layers if number is not None), "derived")
        return cls._saying(message, cls(f"layer of {subject}", str(layer), map(str, layers)))

    @classmethod
    def of_scalar(cls, scalar: str, derived: Iterable[str], is_gradient: bool = False) -> "NotDerivedError":
        """The error for a scalar that was not derived, or whose gradient was not.

        >>> print(NotDerivedError.of_scalar("mlp_write", ["mlp_write_norm"]))
        mlp_write was not derived. Choose one of: mlp_write_norm.
        """
        error = cls("derived scalar", scalar, derived)
        if not is_gradient:
            return cls._saying(f"{scalar} was not derived. {choices_sentence(error.choices)}", error)
        gradients = choices_sentence(error.choices) if error.choices else "Set DstConfig's `derive_gradients`."
        return cls._saying(f"The gradient of {scalar} was not derived. {gradients}", error)

    @staticmethod
    def _saying(message: str, error: "NotDerivedError") -> "NotDerivedError":
        error.message = message
        error.args = (message,)
        return error
