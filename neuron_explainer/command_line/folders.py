"""Dataset folders on the command line: a path, or `cache:NAME` for a folder in the user's cache."""

import os
from pathlib import Path

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.storage.disk_cache import CACHE_VARIABLE, cache_folder
from neuron_explainer.storage.locations import local_path

CACHE_PREFIX = "cache:"


def dataset_folder(given: str) -> Path:
    """The folder that an argument names.

    Raises:
        InvalidRequestError: it is an address; or names a folder in the cache, but the cache is off, or one outside.

    >>> dataset_folder("my_dataset")
    PosixPath('my_dataset')
    """
    name = given.removeprefix(CACHE_PREFIX)
    if not given.startswith(CACHE_PREFIX) or name == "":
        return local_path("FOLDER", given)
    folder = cached_datasets_folder()
    if folder is None:
        raise InvalidRequestError(
            f"{given} is in the cache, but {CACHE_VARIABLE} switches the cache off. Name a folder."
        )
    if os.path.isabs(name) or {".", ".."} & set(Path(name).parts) or not Path(name).parts:
        raise InvalidRequestError(f"{shown(given)} is not in the cache. After {CACHE_PREFIX}, give a plain name.")
    return folder / name


def named_dataset(given: str) -> str | Path:
    """The dataset that an argument names: a folder in the cache, or what was given, a registered name or a path.

    Raises:
        InvalidRequestError: as `dataset_folder`.

    >>> named_dataset("tiny")
    'tiny'
    """
    return dataset_folder(given) if given.startswith(CACHE_PREFIX) else given


def cached_datasets_folder() -> Path | None:
    """Where `cache:NAME` datasets are; None if the cache is off."""
    folder = cache_folder()
    return None if folder is None else folder / "datasets"
