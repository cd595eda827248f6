"""Locations of files: an http(s) address or a local path."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from neuron_explainer.errors import UnsupportedLocationError, shown
from neuron_explainer.wording import without_steering

# At least two letters: one letter and a colon is a Windows drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def path_text(location: object) -> str:
    """A location as text.

    Raises:
        UnsupportedLocationError: it is neither a text nor a path object.
    """
    text = os.fspath(location) if isinstance(location, str | os.PathLike) else None
    if not isinstance(text, str):
        raise UnsupportedLocationError(f"{shown(location)} is not a location. Give an http(s) address or a local path.")
    return text


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether a location is an http(s) address; otherwise it is a local path.

    Raises:
        UnsupportedLocationError: it is an address of another kind, such as file://, s3:// or az://, or is malformed;
            or it is neither a text nor a path object.

    >>> is_url("https://host/data"), is_url("data/mine")
    (True, False)
    """
    text = path_text(location)
    scheme = _SCHEME.match(text) if isinstance(location, str) else None
    if scheme is None:
        return False
    if scheme[1].lower() not in ("http", "https"):
        raise UnsupportedLocationError(
            f"{without_secrets(text)!r} cannot be read: {scheme[1]}: addresses are unsupported. "
            "Give an http:// or https:// address, or a local path (with ./ before a name that contains a colon)."
        )
    try:
        text.encode()
        host = urlsplit(text).netloc
    except ValueError as error:
        problem = getattr(error, "reason", error)  # a UnicodeEncodeError's message begins with the codec
        raise UnsupportedLocationError(f"{without_secrets(text)!r} is a malformed address: {problem}.") from None
    if not host:
        raise UnsupportedLocationError(
            f"{without_secrets(text)!r} lacks a host: give an address like https://host/path."
        )
    return True


def local_path(name: str, path: object) -> Path:
    """A local path, to write to.

    Args:
        name: the argument's name.
        path: what was given.

    Raises:
        UnsupportedLocationError: it is neither a text nor a path object, is empty, is an address, or has a character
            that names cannot have.

    >>> local_path("out", "data/mine")
    PosixPath('data/mine')
    """
    if not isinstance(path, str | os.PathLike) or not path_text(path):
        raise UnsupportedLocationError(f"{name} is {shown(path)}. Give a local path.")
    if is_url(path):
        raise UnsupportedLocationError(f"{name} is an address, {without_secrets(path)}. Give a local path.")
    try:
        is_name = b"\0" not in os.fsencode(path)
    except UnicodeError:
        is_name = False
    if not is_name:
        raise UnsupportedLocationError(f"{name} is {shown(path)}, which has a character that names cannot have.")
    return expanded(path)


def expanded(path: str | os.PathLike[str]) -> Path:
    """A local path whose first part may be ~, which stands for the user's folder.

    >>> expanded("data/~")
    PosixPath('data/~')
    """
    return Path(os.path.expanduser(path))


def joined(root: str | os.PathLike[str], *parts: str | int) -> str:
    """An address or a local folder with path parts appended. The query of an address is kept.

    >>> joined("https://host/data/?key=1", 2, "5.json")
    'https://host/data/2/5.json?key=1'
    """
    tail = [str(part) for part in parts]
    if not is_url(root):
        return os.path.join(root, *tail)
    address = urlsplit(str(root))
    return urlunsplit(address._replace(path="/".join([address.path.rstrip("/"), *tail]), fragment=""))


def without_secrets(location: str | os.PathLike[str]) -> str:
    """A location as everything that people see shows it: messages, tables, `repr`, logs, pages.

    An address loses its user, password, query and fragment, which may be secrets. A path stays as it is.

    >>> without_secrets("https://user:password@host/data?key=1")
    'https://host/data'
    """
    text = path_text(location)
    scheme = _SCHEME.match(text.lstrip())
    if scheme is None or not ("://" in text or scheme[1].lower() in ("http", "https")):
        return text
    if "://" not in text:  # such as http:user:password@host
        return f"{scheme[1]}:…"
    try:
        address = urlsplit(text)
    except ValueError:  # a malformed address may contain secrets anywhere
        return text.partition("://")[0] + "://…"
    host = address.netloc.rpartition("@")[2]
    return without_steering(urlunsplit(address._replace(netloc=host, query="", fragment="")))
