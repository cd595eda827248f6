"""The shared HTTP session: pooled connections, retries with growing pauses, redirects only to http(s)."""

import functools
import os
from http.cookiejar import DefaultCookiePolicy

import requests
import urllib3
from requests.adapters import HTTPAdapter

from neuron_explainer.storage.http_settings import DEFAULT_SETTINGS, HttpSettings

RETRIED_STATUS_CODES = (429, *range(500, 600))
_POOLED_CONNECTIONS = 32


class BoundedRetry(urllib3.Retry):
    """urllib3's Retry, with the wait that a server's Retry-After asks for limited to `backoff_max`."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """The seconds that the server asks to wait, at most `backoff_max`; None if it gives no valid number."""
        try:
            asked = super().get_retry_after(response)
        except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            return None
        return None if asked is None else min(asked, self.backoff_max)


@functools.lru_cache(maxsize=8)
def http_session(settings: HttpSettings = DEFAULT_SETTINGS) -> requests.Session:
    """The session that all downloads of this process share. It is safe to use from several threads."""
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
    # Cookies are not needed, and a cookie jar is the one part of a session that threads must not share.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "neuron-explainer-jupyter"
    return session


if hasattr(os, "register_at_fork"):  # a child process must not use its parent's connections
    os.register_at_fork(after_in_child=http_session.cache_clear)
