"""The warnings of this library, given where its user called it.

>>> import warnings
>>> with warnings.catch_warnings(record=True) as caught:
...     warnings.simplefilter("always")
...     warn("Something overflowed.", NonFiniteWarning)
>>> print(caught[0].message)
Something overflowed.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

_LIBRARIES_ON_THE_WAY = frozenset({"neuron_explainer", "torch", "contextlib", "jaxtyping", "beartype"})


class NeuronExplainerWarning(UserWarning):
    """Base class of the library's warnings: a result is given, and something about it should be known."""


class NonFiniteWarning(NeuronExplainerWarning):
    """Results have numbers that are infinite or NaN, such as those of a model that overflows in float16."""


class UnexpectedContentWarning(NeuronExplainerWarning):
    """A file has other content than its name or its format promises; what it has is used."""


class AssumedSettingWarning(NeuronExplainerWarning):
    """A file does not say a setting that changes results; one was assumed, and an argument gives another."""


class UnknownConfigEntryWarning(NeuronExplainerWarning):
    """A model's config has entries that nobody knows; if one changes the model, its results here are not its own."""


class TrailingSpaceWarning(NeuronExplainerWarning):
    """A prompt ends in a space that became a token of its own."""


class ManyPassesWarning(NeuronExplainerWarning):
    """What was asked for takes very many passes of the model; an estimate takes few."""


class UnchangedByInterventionWarning(NeuronExplainerWarning):
    """A change that was asked for was applied, and changed no number: what it gave is what was there before."""


def warn(message: str, category: type[NeuronExplainerWarning]) -> None:
    """Warn at the line that called the library, whichever of its functions notices."""
    level = 2
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES_ON_THE_WAY:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level if frame is not None else 2)


_IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)


@contextmanager
def without_bars() -> Iterator[None]:
    """Within it, work of this thread shows no bars unless it is asked to: it is part of work that has one."""
    before = _IS_QUIET.set(True)
    try:
        yield
    finally:
        _IS_QUIET.reset(before)


def is_interactive() -> bool:
    """Whether standard error is a terminal or is shown by a notebook, and this is not part of work with a bar."""
    if _IS_QUIET.get():
        return False
    interactive_shell = sys.modules.get("IPython")
    in_notebook = (
        interactive_shell is not None and getattr(interactive_shell, "get_ipython", lambda: None)() is not None
    )
    if in_notebook:
        return True
    return sys.stderr is not None and sys.stderr.isatty()  # a process may be started without one
