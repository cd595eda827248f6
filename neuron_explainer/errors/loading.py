"""Errors of models, tokenizers, records and files that are looked for, read or downloaded."""

from collections.abc import Iterable

from neuron_explainer.errors.base import InvalidRequestError, NeuronExplainerError, UnknownNameError
from neuron_explainer.wording import choices_sentence, with_article, without_steering


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


class NotEnoughMemoryError(NeuronExplainerError, MemoryError):
    """A model is larger than the memory. It takes `needed` bytes, and `free` are there; the message says what fits."""

    def __init__(self, message: str, needed: int, free: int) -> None:
        self.needed = needed
        self.free = free
        super().__init__(message)


class TokenizerError(NeuronExplainerError, ValueError):
    """A tokenizer cannot be read, is of an unsupported kind, or does not belong to its model."""


class TokenizerMismatchError(TokenizerError):
    """The tokenizer's vocabulary differs from the model's."""


class ChatTemplateError(TokenizerError):
    """A chat template is missing or malformed, refuses the messages, or takes too long or too much memory.

    `line` is the line of the template; None if unknown.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        self.line = line
        super().__init__(message)


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
        super().__init__(
            problem if source is None else f"{without_steering(source)} is not {with_article(kind)}: {problem}"
        )


class MalformedDatasetError(NeuronExplainerError, ValueError):
    """A file of a packed neuron dataset is invalid. `source` is the file; `problem` says what is wrong."""

    def __init__(self, problem: str, source: str) -> None:
        self.problem = problem
        self.source = source
        super().__init__(f"{without_steering(source)} is not a valid packed-dataset file: {problem}")


class UnsupportedLocationError(InvalidRequestError):
    """A location is neither an http(s) address nor a local path."""


class MissingFileError(NeuronExplainerError, FileNotFoundError):
    """A file was not found: it does not exist, or the server answered 404 or 410. `location` is its path or address."""

    def __init__(self, location: str, answer: str = "file not found") -> None:
        self.location = location
        super().__init__(f"{without_steering(location)}: {answer}")


class UnreadableFileError(NeuronExplainerError, OSError):
    """A local file cannot be read: it is a pipe or a device, or the system refuses it. `location` is its path."""

    def __init__(self, location: str, problem: str) -> None:
        self.location = location
        self.problem = problem
        super().__init__(f"{without_steering(location)} cannot be read: {problem}")


class DownloadError(NeuronExplainerError, OSError):
    """A download failed: the server could not be reached, broke off, or answered with an error.

    A server that says the file does not exist is a MissingFileError instead. `location` is the address, `problem` says
    what happened, and `status_code` is the HTTP status; None if the server did not answer.
    """

    def __init__(self, location: str, problem: str, status_code: int | None = None) -> None:
        self.location = location
        self.problem = problem
        self.status_code = status_code
        super().__init__(f"{without_steering(location)}: {problem}")


class TooLargeError(NeuronExplainerError, OSError):
    """A file or a server's answer is larger than `limit` bytes."""

    def __init__(self, location: str, limit: int) -> None:
        self.location = location
        self.limit = limit
        super().__init__(f"{without_steering(location)} exceeds the limit of {limit:,} bytes")


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
        error._say_instead(f"{short_name} has no {dst}. {choices_sentence(error.choices)}")
        return error
