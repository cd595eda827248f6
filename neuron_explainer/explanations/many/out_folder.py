"""The folder of the explanations of many components: what it says of itself, and who may write there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from neuron_explainer.collation.runs.saved_state import differences
from neuron_explainer.collation.runs.work_folder import LOCK_FILE_NAME, is_lock, locked
from neuron_explainer.errors import DatasetExistsError
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX
from neuron_explainer.storage.signed_json import read_signed_json, save_signed_json

STATE, OUTCOMES, TABLE, EXPLANATIONS = "explaining.json", "explained.jsonl", "explanations.csv", "explanations"
"""Of a folder: what it is of, a line for each component, the table, and OpenAI's files."""

_MADE_BY, _VERSION = "neuron_explainer.explain_dataset", 1
_UNFINISHED = re.compile(rf"\.(.+)\.\d+-[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}")


@contextmanager
def held_out_folder(folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Hold a folder, which afterwards says what it is of.

    Args:
        folder: the folder; it is made if it is missing.
        settings: all that explanations and scores depend on, as JSON can hold it.

    Raises:
        DatasetExistsError: another call works there, it has explanations with other settings, or files of others.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise DatasetExistsError(f"{folder} is not a folder. Choose another one.")
    if os.path.lexists(folder / LOCK_FILE_NAME) and not is_lock(folder / LOCK_FILE_NAME):
        raise DatasetExistsError(f"{folder / LOCK_FILE_NAME} is of something else. Choose another folder.")
    is_new = not folder.exists()
    _check_same(folder, settings)
    descriptor = locked(folder, folder)
    try:
        if not _check_same(folder, settings):
            save_signed_json(folder / STATE, _MADE_BY, _VERSION, {"settings": settings})
        yield
    finally:
        (folder / LOCK_FILE_NAME).unlink(missing_ok=True)
        os.close(descriptor)
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # only if nothing was written


def _check_same(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder is one of such explanations already; one of others is refused."""
    state = folder / STATE
    if not os.path.lexists(state):
        others = [path.name for path in folder.iterdir() if not _is_own(path.name)] if folder.is_dir() else []
        if others:
            raise DatasetExistsError(
                f"{folder} has {min(others)}, which no call of explain_dataset wrote there. Choose another folder."
            )
        return False
    try:
        before = read_signed_json(state, _MADE_BY, _VERSION)["settings"]
    except (KeyError, ValueError) as error:
        raise DatasetExistsError(
            f"{state} is damaged, or no call of explain_dataset wrote it ({error}). Move the folder away, or choose "
            "another one."
        ) from None
    if before != settings:
        raise DatasetExistsError(
            f"{folder} has explanations with other settings: {differences(before, settings)}. Use the same settings to "
            "go on, or another folder."
        )
    return True


def _is_own(name: str) -> bool:
    """Whether a file may be there before the folder says what it is: a lock, or what a killed call left unfinished."""
    unfinished = _UNFINISHED.fullmatch(name)
    return name == LOCK_FILE_NAME or (unfinished is not None and unfinished[1] == STATE)
