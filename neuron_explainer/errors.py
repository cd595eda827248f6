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
