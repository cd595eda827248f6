"""Every error that this library raises on its own account.

All are `NeuronExplainerError`; each also is the built-in exception that a caller would expect (a `KeyError` for a name
that is not there, a `ValueError` for a bad value), so code that does not know this module can still catch it. A message
says what was asked, what was found, and what to do or which choices there are.
"""

import difflib
from collections.abc import Iterable


class NeuronExplainerError(Exception):
    """Base class of the library's errors."""


def nearest_first(asked: str, choices: Iterable[str]) -> list[str]:
    """The choices, those most like `asked` first."""

    def unlikeness(choice: str) -> tuple[float, str]:
        return -difflib.SequenceMatcher(None, asked.lower(), choice.lower()).ratio(), choice

    return sorted(choices, key=unlikeness)


class UnknownNameError(NeuronExplainerError, KeyError):
    """A name was looked up that is not there. `choices` lists what there is, nearest first."""

    def __init__(self, kind: str, asked: str, choices: Iterable[str], hint: str = "") -> None:
        self.kind = kind
        self.asked = asked
        self.choices = nearest_first(asked, choices)
        listed = ", ".join(self.choices[:40]) + (f", … ({len(self.choices)} in all)" if len(self.choices) > 40 else "")
        self.message = f"There is no {kind} {asked!r}. There is: {listed or 'nothing'}." + (f" {hint}" if hint else "")
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
