"""The pooled HTTP session: time-outs, retries with growing pauses, redirects to http(s) alone."""

import functools
import os
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import requests
import urllib3
from requests.adapters import HTTPAdapter

RETRIED_STATUS_CODES = (429, *range(500, 600))
_POOLED_CONNECTIONS = 32


@dataclass(frozen=True)
class HttpSettings:
    """How patient a download is.

    Attributes:
        retries: how many times it is tried again after a connection error, an answer that breaks off, 429 or 5xx.
        pause: seconds before the second retry; each further one waits twice as long. The first follows at once.
        longest_pause: seconds waited before a retry at most, also where the server's Retry-After asks for more.
        connect_timeout: seconds until a connection must stand.
        read_timeout: seconds until the next piece of an answer must come.
        total_timeout: seconds that the body of one answer may take.
    """

    retries: int = 4
    pause: float = 0.25
    longest_pause: float = 30.0
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    total_timeout: float = 900.0


DEFAULT_SETTINGS = HttpSettings()


class BoundedRetry(urllib3.Retry):
    """urllib3's Retry, but no server's Retry-After makes anybody wait longer than `backoff_max`."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """The seconds that the server asks to wait, bounded; None where it names none that can be understood."""
        try:
            asked = super().get_retry_after(response)
        except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            return None
        return None if asked is None else min(asked, self.backoff_max)


@functools.lru_cache(maxsize=8)
def http_session(settings: HttpSettings = DEFAULT_SETTINGS) -> requests.Session:
    """The session that everything in this process shares; safe to use from several threads."""
    session = requests.Session()
    retry = BoundedRetry(
        total=settings.retries,
        backoff_factor=settings.pause,
        backoff_max=settings.longest_pause,
        status_forcelist=RETRIED_STATUS_CODES,
        allowed_methods=("GET", "HEAD"),
        raise_on_status=False,
    )
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=_POOLED_CONNECTIONS, max_retries=retry)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.max_redirects = 10
    # Nothing here needs cookies, and a jar is the one part of a session that threads must not share.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "neuron-explainer-jupyter"
    return session


if hasattr(os, "register_at_fork"):  # a child must not talk through its parent's connections
    os.register_at_fork(after_in_child=http_session.cache_clear)
