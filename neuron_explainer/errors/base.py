"""The base of all errors, and those of names and arguments."""

from collections.abc import Iterable
from typing import Any

from neuron_explainer.errors.copies import made_again, state_of
from neuron_explainer.wording import (
    N_LISTED,
    choices_sentence,
    nearest_first,
    shown,
    with_article,
    within_limit,
    without_credentials,
)


class NeuronExplainerError(Exception):
    """Base class of the library's errors. Addresses in their messages are without credentials.

    A message has at most 2,500 characters, whatever the names in it are.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*(within_limit(without_credentials(each)) for each in arguments), **options)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle would call the class with the message alone, but many of these constructors take other arguments.
        return made_again, (type(self), self.args, state_of(self))

    def _render_traceback_(self) -> list[str]:
        """The lines in which IPython shows this error: the user's own lines and the message."""
        from neuron_explainer.views.short_traceback import short_traceback

        return short_traceback(self)


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
        self.message = within_limit(" ".join([*sentences, *([hint] if hint else [])]))
        super().__init__(self.message)

    def _say_instead(self, message: str) -> None:
        self.message = within_limit(without_credentials(message))
        self.args = (self.message,)

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


class MissingPackageError(NeuronExplainerError, ImportError):
    """An optional package is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str, why: str, *, command: str | None = None) -> None:
        """Say what is missing.

        Args:
            package: the package.
            extra: the extra of this library that it comes with.
            why: what needs it.
            command: what installs it, where no extra does.
        """
        self.package = package
        usual = f"Run `pip install {package}`, or install neuron_explainer with its extra [{extra}]."
        super().__init__(
            f"{why}. This needs the package {package!r}, which is not installed. "
            + (usual if command is None else f"Run `{command}`."),
            name=package,
        )
