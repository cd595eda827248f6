"""Folders in which datasets are built, under names that nobody else gives a folder, so that they can be removed."""

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = ".being-built-"


@contextmanager
def building_folder(parent: Path, name: str) -> Iterator[Path]:
    """Context manager that yields the path of a new folder in `parent`; what is there at the end is removed.

    What killed processes left of the same name is removed first.
    """
    remove_built(parent, name)
    folder = parent / f".{name}{_SUFFIX}{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_built(parent: Path, name: str) -> None:
    """Remove the folders that killed processes left."""
    for folder in parent.glob(f".*{_SUFFIX}*"):
        if re.fullmatch(rf"\.{re.escape(name)}{re.escape(_SUFFIX)}[0-9a-f]{{32}}", folder.name) and folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def is_built(path: Path) -> bool:
    """Whether a path is named as such a folder."""
    return re.fullmatch(rf"\..+{re.escape(_SUFFIX)}[0-9a-f]{{32}}", path.name) is not None
