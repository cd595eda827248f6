"""The folder of a run, `{out}.collating`: one run at a time works there, and only a run's own files are removed."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuron_explainer.collation.output.building import is_built, remove_built
from neuron_explainer.collation.output.dataset_writing import remove_if_empty
from neuron_explainer.collation.runs.saved_state import STATE_FILE_NAME, is_saved_state, remove_unfinished
from neuron_explainer.errors import DatasetExistsError, NeuronExplainerError
from neuron_explainer.storage.atomic import TEMPORARY_SUFFIX
from neuron_explainer.storage.file_locks import try_lock
from neuron_explainer.storage.local import read_local_bytes

LOCK_FILE_NAME = "run.lock"
_LONGEST_LOCK = 200


def work_folder_of(path: Path) -> Path:
    """The folder in which the dataset at `path` is made, beside it.

    Raises:
        DatasetExistsError: nothing can be beside `path`, because it is the root of the file system.
    """
    place = path if path.name not in ("", "..") else Path(os.path.abspath(path))  # such as "."
    if not place.name:
        raise DatasetExistsError(f"{path} is not a folder that a dataset can be made in. Choose another folder.")
    return place.with_name(place.name + ".collating")


@contextmanager
def held_work_folder(path: Path, *, overwrite: bool = False) -> Iterator[None]:
    """Hold the lock of the folder in which a dataset is made. The system releases it when a process ends, however.

    Args:
        path: where the dataset will be.
        overwrite: whether an unfinished run there is removed.

    Raises:
        DatasetExistsError: another run works there, or the folder, or a file there with the name of one of a run's,
            belongs to something else.
    """
    folder = work_folder_of(path)
    _refuse_foreign(folder)
    descriptor = locked(folder, path)
    try:
        if overwrite:
            remove_work(folder)
        yield
    finally:
        (folder / LOCK_FILE_NAME).unlink(missing_ok=True)
        os.close(descriptor)
        if folder.is_dir():
            remove_if_empty(folder)


def remove_work(folder: Path) -> None:
    """Remove the files of a run. The files of others stay, whatever their names."""
    if is_saved_state(folder / STATE_FILE_NAME):
        (folder / STATE_FILE_NAME).unlink(missing_ok=True)
    remove_unfinished(folder)
    for name in ("packed", "json"):
        remove_built(folder, name)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that has files, but none of a run; and files of others with the names of a run's."""
    if not os.path.lexists(folder):
        return
    is_own = folder.is_dir() and (
        is_saved_state(folder / STATE_FILE_NAME)
        or os.path.lexists(folder / LOCK_FILE_NAME)
        or all(file.name.endswith(TEMPORARY_SUFFIX) or is_built(file) for file in folder.iterdir())
    )
    state, lock = folder / STATE_FILE_NAME, folder / LOCK_FILE_NAME
    foreign = [
        path
        for path, belongs in ((state, is_saved_state), (lock, is_lock))
        if os.path.lexists(path) and not belongs(path)
    ]
    if foreign:
        raise DatasetExistsError(
            f"{foreign[0]} is damaged, or no run of collate made it. Move it away, or choose another output folder."
        )
    if not is_own:
        raise DatasetExistsError(
            f"{folder} exists, but no run of collate made it. Choose another output folder, or move that one away."
        )


@contextmanager
def locked_folder(folder: Path, check: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of a folder of results, which is made if it is missing, and removed again if it stays empty.

    Args:
        folder: the folder.
        check: refuses a folder of something else, before anything is written there.

    Raises:
        DatasetExistsError: another run works there, it is no folder, or its lock is of something else.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise DatasetExistsError(f"{folder} is not a folder. Choose another one.")
    if os.path.lexists(folder / LOCK_FILE_NAME) and not is_lock(folder / LOCK_FILE_NAME):
        raise DatasetExistsError(f"{folder / LOCK_FILE_NAME} is of something else. Choose another folder.")
    is_new = not folder.exists()
    check()
    descriptor = locked(folder, folder)
    try:
        yield
    finally:
        (folder / LOCK_FILE_NAME).unlink(missing_ok=True)
        os.close(descriptor)
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # only if nothing was written


def is_lock(path: Path) -> bool:
    """Whether a file is a run's lock, which is empty or says who holds it."""
    try:
        content = read_local_bytes(path, _LONGEST_LOCK)
    except NeuronExplainerError:
        return False
    return not content or re.fullmatch(rb"process \d+, since [-:\d ]+\n", content) is not None


def locked(folder: Path, path: Path) -> int:
    """The descriptor of a folder's lock file, open and locked. The folder is made if it is missing.

    Args:
        folder: the folder.
        path: what is made with it, for the error.

    Raises:
        DatasetExistsError: another run has the lock.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / LOCK_FILE_NAME
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # a run that ended has just removed the folder
            continue
        if not try_lock(descriptor):
            holder = os.read(descriptor, _LONGEST_LOCK).decode(errors="replace").strip()
            os.close(descriptor)
            raise DatasetExistsError(
                f"Another run is making {path} at this moment{f' ({holder})' if holder else ''}. Wait for it, or "
                "choose another folder."
            )
        if _is_file(descriptor, file):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            return descriptor
        os.close(descriptor)  # the run before removed this file between the two calls


def _is_file(descriptor: int, file: Path) -> bool:
    try:
        found = file.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), found)
