"""The folder of a site: one export at a time works there, and only files of a site are replaced or removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuron_explainer.collation.runs.work_folder import LOCK_FILE_NAME, locked_folder
from neuron_explainer.errors import DatasetExistsError
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX, write_bytes_atomically
from neuron_explainer.storage.disk_full import raise_if_disk_full
from neuron_explainer.views.site.state import STATE, SiteState

_UNFINISHED = re.compile(rf"\.(.+)\.\d+-[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}")


@contextmanager
def held_site(folder: Path, state: SiteState, *, overwrite: bool) -> Iterator[None]:
    """Hold a site's folder, which afterwards says what site it is.

    Args:
        folder: the folder; it is made if it is missing.
        state: what the site is.
        overwrite: whether another site in the folder is removed.

    Raises:
        DatasetExistsError: another export works there, it has another site and `overwrite` is False, or files that no
            export wrote.
    """
    with locked_folder(folder, lambda: _refuse_foreign(folder, SiteState.found(folder))):
        before = SiteState.found(folder)
        unfinished = _refuse_foreign(folder, before)
        if before is not None and not overwrite:
            before.check_same(state, folder)
        for path in unfinished:
            path.unlink(missing_ok=True)
        if before is not None and overwrite:
            _remove(folder, before)
        state.save(folder)
        yield


def write_file(folder: Path, path: str, content: bytes) -> None:
    """Write a file of a site whole, or not at all.

    Raises:
        OutOfSpaceError: the disk is full.
    """
    with raise_if_disk_full(folder):
        write_bytes_atomically(folder / path, content, durable=False)


def _refuse_foreign(folder: Path, state: SiteState | None) -> list[Path]:
    """Refuse files that no export wrote. The result are files that a killed export had not finished."""
    own = {STATE, LOCK_FILE_NAME} | (set() if state is None else state.plan.paths())
    unfinished = []
    for found, names, files in os.walk(folder):
        here = Path(found).relative_to(folder)
        for name in names:
            path = (here / name).as_posix()
            if (folder / path).is_symlink():
                raise _foreign(folder, path)
        for name in files:
            path = (here / name).as_posix()
            part = _UNFINISHED.fullmatch(name)
            if part is not None and (here / part[1]).as_posix() in own:
                unfinished.append(folder / path)
            elif path not in own or (folder / path).is_symlink():
                raise _foreign(folder, path)
    return unfinished


def _foreign(folder: Path, path: str) -> DatasetExistsError:
    return DatasetExistsError(
        f"{folder} has {path}, which no export of a site wrote there. Choose another folder, or move that away."
    )


def _remove(folder: Path, state: SiteState) -> None:
    """Remove a site. What it is stays until the last, so that a stopped removal can go on."""
    paths = sorted(state.plan.paths())
    for path in paths:
        (folder / path).unlink(missing_ok=True)
    for parent in sorted({parent for path in paths for parent in Path(path).parents}, reverse=True):
        if parent != Path("."):
            with suppress(OSError):
                (folder / parent).rmdir()
    (folder / STATE).unlink(missing_ok=True)
