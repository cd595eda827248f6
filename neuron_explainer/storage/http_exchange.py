"""One request and its answer: follows redirects without reading their bodies, and keeps credentials to their host."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import requests
import urllib3
from requests.utils import get_netrc_auth

from neuron_explainer.errors import DownloadError
from neuron_explainer.storage.http_limits import Allowance
from neuron_explainer.storage.http_session import http_session
from neuron_explainer.storage.http_settings import HttpSettings
from neuron_explainer.storage.locations import without_secrets
from neuron_explainer.wording import in_a_sentence

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_HERE = "here or in a redirect"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONNECTION = re.compile(r"^\w+\(host='([^']*)', port=([0-9]+)\): ")  # how urllib3's messages begin
_Credentials = tuple[str, str]


class Unreachable(Exception):
    """A server could not be reached. A later attempt may reach it; `error` is what to raise if none does."""

    def __init__(self, error: DownloadError) -> None:
        self.error = error


@contextlib.contextmanager
def answered(
    url: str, headers: dict[str, str], settings: HttpSettings, allowance: Allowance
) -> Iterator[requests.Response]:
    """Context manager that yields the answer to a GET, redirects followed, its body not yet read, and closes it.

    Credentials (the address's user and password, or those that ~/.netrc has for its host) are sent to the address's own
    scheme, host and port alone.

    Raises:
        Unreachable: the server could not be reached.
        DownloadError: the address is malformed, or redirects to one that is not http(s), from https to http, or too
            often.
    """
    shown = without_secrets(url)
    credentials = _credentials_in(url) or _credentials_of_netrc(url)
    at = url
    for _ in range(_MOST_REDIRECTS + 1):
        own = _credentials_in(at) or (credentials if _origin(at, shown) == _origin(url, shown) else None)
        with _sent(at, headers, own, settings, allowance, shown) as response:
            target = response.headers.get("Location") if response.status_code in _REDIRECTS else None
            if target is None:
                yield response
                return
        at = _followed(at, target, shown)
    raise DownloadError(shown, f"it redirects more than {_MOST_REDIRECTS} times, perhaps in a circle")


@contextlib.contextmanager
def _sent(
    url: str,
    headers: dict[str, str],
    credentials: _Credentials | None,
    settings: HttpSettings,
    allowance: Allowance,
    shown: str,
) -> Iterator[requests.Response]:
    """Context manager that yields the answer to one request, and closes it. `shown` is the address for messages."""
    session = http_session()
    options: Mapping[str, Any] = {"proxies": None}
    try:
        request = requests.PreparedRequest()
        # Not prepared by the session, which would add credentials of ~/.netrc for any host.
        auth = credentials and tuple(part.encode(errors="replace") for part in credentials)
        request.prepare(method="GET", url=url, headers={**session.headers, **headers}, auth=auth)
        options = session.merge_environment_settings(request.url, {}, True, None, None)
        timeout = (min(settings.connect_timeout, allowance.seconds_left()), settings.read_timeout)
        response = session.get_adapter(request.url or "").send(
            request,
            stream=True,
            timeout=timeout,
            verify=True if options["verify"] is None else options["verify"],
            cert=options["cert"],
            proxies=options["proxies"],
        )
    except (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError):
        # The exception's own message would show the whole address, secrets included.
        where = "here, in a redirect or in the proxy that the environment sets" if options["proxies"] else _HERE
        raise DownloadError(shown, f"invalid host or port ({where})") from None
    # An OSError, because requests reports a missing file of certificates so; its own exceptions are OSErrors, too.
    except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as error:
        problem = f"the server could not be reached ({type(error).__name__}): {innermost_reason(error)}"
        hint = "Without a network, local files and earlier downloads can still be loaded."
        raise Unreachable(DownloadError(shown, f"{problem}. {hint}")) from None
    try:
        yield response
    finally:
        response.close()


def innermost_reason(error: Exception) -> str:
    """The innermost reason of an exception. The outer messages repeat the address with its query."""
    reason: object = error
    while isinstance(reason, Exception):
        causes = (argument for argument in reason.args if isinstance(argument, Exception))
        inner = getattr(reason, "reason", None) or next(causes, None)
        if not isinstance(inner, Exception):
            break
        reason = inner
    said = _CONNECTION.sub(r"\1:\2: ", str(reason).rpartition(">: ")[2])
    return in_a_sentence(said or type(error).__name__).rstrip(".")


def _credentials_in(url: str) -> _Credentials | None:
    found = requests.utils.get_auth_from_url(url)
    return found if any(found) else None


def _credentials_of_netrc(url: str) -> _Credentials | None:
    try:
        return get_netrc_auth(url)
    except ValueError:  # not a text file
        return None


def _origin(url: str, shown: str) -> tuple[str, str | None, int | None]:
    """What credentials belong to: scheme, host and port."""
    address = urlsplit(url)
    try:
        return address.scheme, address.hostname, address.port or _DEFAULT_PORTS.get(address.scheme)
    except ValueError:
        raise DownloadError(shown, f"invalid host or port ({_HERE})") from None


def _followed(url: str, location: str, shown: str) -> str:
    """The address that a redirect leads to.

    Raises:
        DownloadError: it must not be followed.
    """
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode()  # headers are read as Latin-1, but servers send UTF-8
    try:
        target, _ = urldefrag(urljoin(url, location))
        scheme = urlsplit(target).scheme
    except ValueError:
        raise DownloadError(shown, "it redirects to a malformed address") from None
    if scheme not in _DEFAULT_PORTS:
        raise DownloadError(
            shown, f"it redirects to an address that is not http(s): {in_a_sentence(without_secrets(target))}"
        )
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise DownloadError(shown, f"it redirects from https to http: {in_a_sentence(without_secrets(target))}")
    return target
