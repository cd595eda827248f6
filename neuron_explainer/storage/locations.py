"""Where bytes can be: at an http(s) address or at a local path. Nothing else."""

import os
import re
from urllib.parse import urlsplit, urlunsplit

from neuron_explainer.errors import UnsupportedLocationError

# Two letters at least: one letter and a colon is a drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether a location is an http(s) address, rather than a local path.

    Raises:
        UnsupportedLocationError: it is an address of another kind, such as file://, s3:// or az://, or a malformed one.
    """
    scheme = _SCHEME.match(location) if isinstance(location, str) else None
    if scheme is None:
        return False
    if scheme[1].lower() not in ("http", "https"):
        raise UnsupportedLocationError(
            f"{without_secrets(str(location))!r} cannot be read: {scheme[1]}: addresses are not supported. "
            "Give an http:// or https:// address, or a local path (./ before a name that holds a colon)."
        )
    try:
        str(location).encode()
        host = urlsplit(str(location)).netloc
    except ValueError as error:
        problem = getattr(error, "reason", error)  # a UnicodeEncodeError's message begins with the codec
        raise UnsupportedLocationError(
            f"{without_secrets(str(location))!r} is a malformed address: {problem}."
        ) from None
    if not host:
        raise UnsupportedLocationError(f"{without_secrets(str(location))!r} names no host.")
    return True


def joined(root: str | os.PathLike[str], *parts: str | int) -> str:
    """`root`, an address or a local folder, with path parts after it; an address keeps its query."""
    tail = [str(part) for part in parts]
    if not is_url(root):
        return os.path.join(root, *tail)
    address = urlsplit(str(root))
    return urlunsplit(address._replace(path="/".join([address.path.rstrip("/"), *tail]), fragment=""))


def without_secrets(location: str | os.PathLike[str]) -> str:
    """A location as messages show it: an address without user, password and query, which may hold secrets."""
    text = os.fspath(location)
    if "://" not in text:
        return text
    try:
        address = urlsplit(text)
    except ValueError:  # what is malformed may hold secrets all the same, and nobody knows where
        return text.partition("://")[0] + "://…"
    host = address.netloc.rpartition("@")[2]
    return urlunsplit(address._replace(netloc=host, query="", fragment=""))
