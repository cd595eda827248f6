"""The shared HTTP session: pooled connections, and the proxies that the environment names.

`requests` reads the body of a redirect, and urllib3 that of an answer that it retries, however large. So neither is
asked to: `http_exchange` follows redirects and `download` retries, without reading those bodies.
"""

import functools
import os
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from neuron_explainer.storage.http_limits import LIMITED_POOLS

_POOLED_CONNECTIONS = 32


class _LimitedAdapter(HTTPAdapter):
    """An adapter whose responses take from the allowance of their thread, see `http_limits`."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = LIMITED_POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if isinstance(manager, urllib3.ProxyManager):  # a SOCKS proxy has connections of its own
            manager.pool_classes_by_scheme = LIMITED_POOLS
        return manager


@functools.lru_cache(maxsize=1)
def http_session() -> requests.Session:
    """The session that all downloads of this process share. It is safe to use from several threads."""
    session = requests.Session()
    adapter = _LimitedAdapter(pool_connections=8, pool_maxsize=_POOLED_CONNECTIONS, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    # Cookies are not needed, and a cookie jar is the one part of a session that threads must not share.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "neuron-explainer-jupyter"
    return session


if hasattr(os, "register_at_fork"):  # a child process must not use its parent's connections
    os.register_at_fork(after_in_child=http_session.cache_clear)
