"""Reads files: from an http(s) address through the disk cache, or from a local path.

The modules for HTTP are imported when an address is first read, because they are slow to import.
"""

import atexit
import functools
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path
from typing import TypeVar

from neuron_explainer.errors import DownloadError, MissingFileError, NeuronExplainerError
from neuron_explainer.storage.disk_cache import CachedFile, DiskCache, default_cache
from neuron_explainer.storage.disk_full import raise_if_disk_full
from neuron_explainer.storage.http_settings import DEFAULT_SETTINGS, HttpSettings
from neuron_explainer.storage.local import is_local_file, opened_file, read_local_bytes
from neuron_explainer.storage.locations import is_url, without_secrets

MOST_RECORD_BYTES = 64 * 2**20
"""The default limit of a JSON file's size. Neuron records have about 100 KB."""

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


def read_bytes(
    location: str | os.PathLike[str],
    most_bytes: int = MOST_RECORD_BYTES,
    *,
    use_cache: bool = True,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> bytes:
    """The bytes at an http(s) address or local path.

    The arguments and errors are those of `read_decoded`.
    """
    return read_decoded(
        location, bytes, most_bytes=most_bytes, use_cache=use_cache, revalidate=revalidate, settings=settings
    )


def read_decoded(
    location: str | os.PathLike[str],
    decode: Callable[[bytes], T],
    *,
    most_bytes: int = MOST_RECORD_BYTES,
    use_cache: bool = True,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> T:
    """Read the bytes at an http(s) address or local path, and decode them.

    A file in the disk cache is not downloaded again. A file that `decode` refuses is not kept in the cache.

    Args:
        location: an http(s) address or a local path.
        decode: turns the bytes into the result; raises a ValueError if they are invalid.
        most_bytes: the largest size allowed.
        use_cache: whether to read from and write to the disk cache. NEURON_EXPLAINER_CACHE=off turns it off as well.
        revalidate: ask the server whether the cached file is up to date. If the server cannot be reached, the cached
            file is used and a warning is logged.
        settings: time-outs and retries.

    Returns:
        The result of `decode`.

    Raises:
        UnsupportedLocationError: the location is neither an http(s) address nor a local path.
        MissingFileError: the file does not exist.
        TooLargeError: it is larger than `most_bytes`.
        DownloadError: the address could not be read.
    """
    if not is_url(location):
        return decode(read_local_bytes(location, most_bytes))
    url = str(location)
    cache = default_cache() if use_cache else None
    cached = cache.find(url) if cache is not None else None
    if cache is not None and cached is not None and not revalidate:
        try:
            return _decoded_from_cache(cache, url, cached, decode, most_bytes)
        except (ValueError, MissingFileError):  # refused, or just removed by another process: download it again
            cached = None
    return _download_and_decode(url, decode, most_bytes, cache, cached, settings)


def _download_and_decode(
    url: str,
    decode: Callable[[bytes], T],
    most_bytes: int,
    cache: DiskCache | None,
    cached: CachedFile | None,
    settings: HttpSettings,
) -> T:
    from neuron_explainer.storage.download import download

    body = io.BytesIO()
    try:
        result = download(url, body, most_bytes, known_etag=_etag(cached), settings=settings)
    except MissingFileError:
        if cache is not None:
            cache.drop(url)
        raise
    except DownloadError as error:
        if cache is None or cached is None:
            raise
        _LOG.warning("Using the cached file, because the server could not be asked for a newer one: %s", error)
        return _decoded_from_cache(cache, url, cached, decode, most_bytes)
    if result.is_unchanged and cache is not None and cached is not None:
        return _decoded_from_cache(cache, url, cached, decode, most_bytes)
    content = body.getvalue()
    decoded = decode(content)
    if cache is not None:
        _keep(cache, url, content, result.etag)
    return decoded


def _decoded_from_cache(
    cache: DiskCache, url: str, cached: CachedFile, decode: Callable[[bytes], T], most_bytes: int
) -> T:
    try:
        return decode(read_local_bytes(cached.path, most_bytes))
    except ValueError:
        cache.drop(url)
        raise


def _keep(cache: DiskCache, url: str, content: bytes, etag: str | None) -> None:
    """Put a download into the cache. A full or read-only disk does not fail the download."""
    try:
        with cache.unfinished_file() as file:
            file.write(content)
            cache.keep(url, file, etag)
    except OSError as error:
        _LOG.warning("Could not write to the disk cache in %s: %s", cache.folder, error)


def _etag(cached: CachedFile | None) -> str | None:
    return None if cached is None else cached.etag


def fetch_file(
    location: str | os.PathLike[str],
    most_bytes: int,
    *,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> Path:
    """The path of a local file with the bytes at a location. For files that are too large to hold in memory.

    A local path is returned as it is. An address is downloaded to the disk cache, if it is not there already. Without a
    cache that can be written to, it is downloaded to a temporary folder that is removed when the process ends; a
    warning is logged.

    Args:
        location: an http(s) address or a local path.
        most_bytes: the largest download allowed.
        revalidate: ask the server whether the cached file is up to date.
        settings: time-outs and retries.

    Raises:
        UnsupportedLocationError: the location is neither an http(s) address nor a local path.
        MissingFileError: the file does not exist.
        TooLargeError: the download is larger than `most_bytes`.
        DownloadError: the address could not be read, or what it sent could not be written.
        OutOfSpaceError: the disk is full.
    """
    if not is_url(location):
        with opened_file(location):  # raises what is wrong with it
            return Path(location)
    url = str(location)
    shown = without_secrets(url)
    cache = default_cache()
    cached = None if cache is None else cache.find(url, hold=True)
    if cached is not None and not revalidate:
        return cached.path
    if cache is None or not cache.is_writable():
        state = "off" if cache is None else "read-only"
        _LOG.warning("The disk cache is %s. %s is kept until this process ends.", state, shown)
        cache = _temporary_cache()
        cached = cache.find(url, hold=True) or cached
        if cached is not None and not revalidate:
            return cached.path
    try:
        with raise_if_disk_full(cache.folder), cache.unfinished_file() as file:
            return _download_to_cache(url, file, most_bytes, cache, cached, settings)
    except NeuronExplainerError:
        raise
    except OSError as error:
        raise DownloadError(shown, f"it could not be written to {cache.folder}: {error.strerror or error}") from None


@functools.cache
def _temporary_cache() -> DiskCache:
    """A cache for this process alone, in a temporary folder that is removed when the process ends."""
    folder, maker = tempfile.mkdtemp(prefix="neuron_explainer-"), os.getpid()

    def remove() -> None:
        if os.getpid() == maker:  # and not a process that was forked from it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return DiskCache(folder)


def _download_to_cache(
    url: str,
    file: BufferedRandom,
    most_bytes: int,
    cache: DiskCache,
    cached: CachedFile | None,
    settings: HttpSettings,
) -> Path:
    from neuron_explainer.storage.download import download

    try:
        result = download(url, file, most_bytes, known_etag=_etag(cached), settings=settings)
    except DownloadError as error:
        if cached is None:
            raise
        _LOG.warning("Using the cached file, because the server could not be asked for a newer one: %s", error)
        return cached.path
    if result.is_unchanged and cached is not None:
        return cached.path
    return cache.keep(url, file, result.etag, hold=True).path


def exists(
    location: str | os.PathLike[str], *, use_cache: bool = True, settings: HttpSettings = DEFAULT_SETTINGS
) -> bool:
    """Whether a file exists at an http(s) address or local path. A cached file counts.

    Raises:
        UnsupportedLocationError: the location is neither an http(s) address nor a local path.
        DownloadError: the server could not be reached, or answered with an error other than 404 or 410.
    """
    if not is_url(location):
        return is_local_file(location)
    cache = default_cache() if use_cache else None
    if cache is not None and cache.find(str(location)) is not None:
        return True
    from neuron_explainer.storage.download import exists_at

    return exists_at(str(location), settings)
