"""The pooled HTTP session: time-outs, retries with growing pauses, redirects to http(s) alone."""

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
