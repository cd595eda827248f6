"""Reading: from an address through the disk cache, or from a local file.

The modules that speak HTTP are imported when an address is first asked for: they take as long as all else together.
"""

import io
import logging
import os
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path
from typing import TypeVar

from neuron_explainer.errors import DownloadError, MissingFileError
from neuron_explainer.storage.disk_cache import CachedFile, DiskCache, default_cache
from neuron_explainer.storage.http_settings import DEFAULT_SETTINGS, HttpSettings
from neuron_explainer.storage.local import read_local_bytes
from neuron_explainer.storage.locations import is_url

MOST_RECORD_BYTES = 64 * 2**20
"""A JSON file is read up to this size unless more is asked for; neuron records have some 100 KB."""

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
    """The bytes at an http(s) address or local path; see `read_decoded`."""
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
    """What `decode` makes of the bytes at an http(s) address or local path.

    What is in the disk cache is not downloaded again; what `decode` refuses does not stay in the cache.

    Args:
        location: an http(s) address or a local path.
        decode: from bytes to what is wanted; raises where they are not that.
        most_bytes: the size allowed.
        use_cache: whether to read from and write to the disk cache; it can also be switched off by environment.
        revalidate: ask the server whether what is cached is still the present version. Where the server cannot be
            reached, what is cached is given, and a warning is logged.
        settings: time-outs and retries.

    Raises:
        UnsupportedLocationError: the location is neither an http(s) address nor a local path.
        MissingFileError: there is nothing.
        TooLargeError: there are more than `most_bytes`.
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
        except (ValueError, MissingFileError):  # refused, or just cleared away: perhaps there is better to be had
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
        answer = download(url, body, most_bytes, known_etag=_etag(cached), settings=settings)
    except MissingFileError:
        if cache is not None:
            cache.drop(url)
        raise
    except DownloadError as error:
        if cache is None or cached is None:
            raise
        _LOG.warning("What is cached is used, for its server could not be asked: %s", error)
        return _decoded_from_cache(cache, url, cached, decode, most_bytes)
    if answer.is_unchanged and cache is not None and cached is not None:
        return _decoded_from_cache(cache, url, cached, decode, most_bytes)
    content = body.getvalue()
    decoded = decode(content)
    if cache is not None:
        _keep(cache, url, content, answer.etag)
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
    """Put a download into the cache. That a disk is full or read-only keeps nobody from what was downloaded."""
    try:
        with cache.unfinished_file() as file:
            file.write(content)
            cache.keep(url, file, etag)
    except OSError as error:
        _LOG.warning("The disk cache in %s could not be written: %s", cache.folder, error)


def _etag(cached: CachedFile | None) -> str | None:
    return None if cached is None else cached.etag


def fetch_file(
    location: str | os.PathLike[str],
    most_bytes: int,
    *,
    revalidate: bool = False,
    settings: HttpSettings = DEFAULT_SETTINGS,
) -> Path:
    """A local file that holds what is at a location: for what is too large to pass through memory.

    A local path is given back as it is. An address is downloaded to the disk cache, unless it is there.

    Raises:
        UnsupportedLocationError: the location is neither an http(s) address nor a local path.
        MissingFileError: there is nothing.
        TooLargeError: there are more than `most_bytes`.
        DownloadError: the address could not be read, or the disk cache is off and there is no place for the file.
    """
    if not is_url(location):
        if not Path(location).is_file():
            raise MissingFileError(os.fspath(location))
        return Path(location)
    url = str(location)
    cache = default_cache()
    if cache is None:
        raise DownloadError(url, "a large file is downloaded to the disk cache, and that is switched off")
    cached = cache.find(url)
    if cached is not None and not revalidate:
        return cached.path
    with cache.unfinished_file() as file:
        return _download_to_cache(url, file, most_bytes, cache, cached, settings)


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
        answer = download(url, file, most_bytes, known_etag=_etag(cached), settings=settings)
    except DownloadError as error:
        if cached is None:
            raise
        _LOG.warning("What is cached is used, for its server could not be asked: %s", error)
        return cached.path
    if answer.is_unchanged and cached is not None:
        return cached.path
    return cache.keep(url, file, answer.etag).path


def exists(
    location: str | os.PathLike[str], *, use_cache: bool = True, settings: HttpSettings = DEFAULT_SETTINGS
) -> bool:
    """Whether there is a file at an http(s) address or local path; what is cached is there.

    Raises:
        UnsupportedLocationError: the location is neither an http(s) address nor a local path.
        DownloadError: the server could not be reached, or answered neither that there is nor that there is not.
    """
    if not is_url(location):
        return Path(location).is_file()
    cache = default_cache() if use_cache else None
    if cache is not None and cache.find(str(location)) is not None:
        return True
    from neuron_explainer.storage.download import exists_at

    return exists_at(str(location), settings)
