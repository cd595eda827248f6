"""The folder of the explanations of many components: what it says of itself, and who may write there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuron_explainer.collation.runs.saved_state import differences
from neuron_explainer.collation.runs.signed_json import read_signed_json, save_signed_json
from neuron_explainer.collation.runs.work_folder import LOCK_FILE_NAME, locked_folder
from neuron_explainer.errors import DatasetExistsError
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX
from neuron_explainer.storage.disk_full import raise_if_disk_full

STATE, OUTCOMES, TABLE, EXPLANATIONS = "explaining.json", "explained.jsonl", "explanations.csv", "explanations"
"""Of a folder: what it is of, a line for each component, the table, and OpenAI's files."""

_MADE_BY, _VERSION = "neuron_explainer.explain_dataset", 1
_OF_COMPONENT = re.compile(r"[0-9]+\.jsonl")
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
    with locked_folder(folder, lambda: _check_same(folder, settings)):
        is_same = _check_same(folder, settings)
        _remove_unfinished(folder)
        if not is_same:
            with raise_if_disk_full(folder):
                save_signed_json(folder / STATE, _MADE_BY, _VERSION, {"settings": settings})
        yield


def _remove_unfinished(folder: Path) -> None:
    """Remove the files that killed calls left unfinished."""
    of_folder = re.compile("|".join(map(re.escape, (STATE, OUTCOMES, TABLE))))
    for place, pattern, own in (
        (folder, f".*{TEMPORARY_SUFFIX}", of_folder),
        (folder / EXPLANATIONS, f"*/.*{TEMPORARY_SUFFIX}", _OF_COMPONENT),
    ):
        for path in place.glob(pattern):
            unfinished = _UNFINISHED.fullmatch(path.name)
            if unfinished is not None and own.fullmatch(unfinished[1]):
                path.unlink(missing_ok=True)


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
