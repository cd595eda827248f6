"""An error of this library as IPython shows it: the user's own lines and the message, without the library's frames."""

import os
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from neuron_explainer.errors.frames import are_library_frames_shown

_LIBRARY = str(Path(__file__).parent.parent) + os.sep
_PACKAGES = tuple(
    {os.path.realpath(sysconfig.get_path(kind)) + os.sep for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
)
_CELL_RUNNER = os.path.join("IPython", "core", "interactiveshell.py")
_CONTEXT = 3  # lines around each of the user's lines
_MOST_CAUSES = 8
_CAUSED, _FOLLOWED = "This is the cause of:", "While this was handled, this followed:"


def short_traceback(error: BaseException) -> list[str]:
    """The lines in which IPython shows an error.

    It keeps the frames of the user's code, those of functions that the library called included, and leaves out those of
    the library and of packages that it uses. Causes come first, as in Python.

    Args:
        error: the error, with its traceback.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return traceback.format_exception(error)
    formatter, whole = shell.InteractiveTB, error.__traceback__
    try:
        if are_library_frames_shown():
            return list(formatter.structured_traceback(type(error), error, whole))
        lines: list[str] = []
        n_left_out = 0
        for each, link in reversed(list(_with_causes(error))):
            n_frames, kept = _users_frames(each.__traceback__)
            if link == _FOLLOWED and not kept:
                continue  # the library tried something, and went on
            n_left_out += n_frames - len(kept)
            lines += [*_formatted(formatter, each, kept), *([f"\n{link}\n"] if link else [])]
    finally:
        formatter.tb = whole  # where %debug begins
    if n_left_out:
        frames = "1 frame is" if n_left_out == 1 else f"{n_left_out} frames are"
        lines.append(f"\n({frames} left out; neuron_explainer.errors.show_library_frames() and then %tb show them.)")
    return lines


def _with_causes(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error and its causes, each with the words between it and what it caused."""
    each, link, seen = error, "", {id(error)}
    for _ in range(_MOST_CAUSES):
        yield each, link
        if each.__cause__ is not None:
            each, link = each.__cause__, _CAUSED
        elif each.__context__ is not None and not each.__suppress_context__:
            each, link = each.__context__, _FOLLOWED
        else:
            return
        if id(each) in seen:
            return
        seen.add(id(each))


def _users_frames(entry: TracebackType | None) -> tuple[int, list[TracebackType]]:
    """The number of frames of a traceback below the cell, and those of the user's code."""
    entries: list[TracebackType] = []
    while entry is not None:
        entries.append(entry)
        if entry.tb_frame.f_code.co_filename.endswith(_CELL_RUNNER):
            entries.clear()  # IPython's own way to the cell
        entry = entry.tb_next
    files = [each.tb_frame.f_code.co_filename for each in entries]
    in_library = [file.startswith(_LIBRARY) for file in files]
    first = in_library.index(True) if any(in_library) else len(files)
    while 0 < first < len(files) and _is_of_packages(files[first - 1]):
        first -= 1  # decorators around the library's function
    later = [each for each, file in zip(entries[first:], files[first:], strict=True) if not _is_of_packages(file)]
    return len(entries), [*entries[:first], *later]


def _is_of_packages(file: str) -> bool:
    """Whether code is of this library, an installed package or Python itself, and not the user's own."""
    is_generated = file.startswith("<") and not file.startswith("<ipython-input")
    return is_generated or file.startswith(_LIBRARY) or os.path.realpath(file).startswith(_PACKAGES)


def _formatted(formatter: Any, error: BaseException, kept: Sequence[TracebackType]) -> list[str]:
    """One error, without its causes, with these frames, in IPython's mode and colours."""
    if not kept:
        return list(formatter.get_exception_only(type(error), error))
    chain = None
    for entry in reversed(kept):
        chain = TracebackType(chain, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    cause, context_hidden = error.__cause__, error.__suppress_context__
    error.__cause__ = None  # IPython would show causes with all their frames; this hides the context, too
    try:
        return list(formatter.structured_traceback(type(error), error, chain, tb_offset=0, context=_CONTEXT))
    finally:
        error.__cause__ = cause
        error.__suppress_context__ = context_hidden
