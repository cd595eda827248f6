"""Whether the hub can be reached, found out quickly: its own client waits and tries again for up to minutes."""

import socket
import threading
import time
import urllib.request
from urllib.parse import urlsplit

_DEADLINE = 2.0
"""Seconds for finding the host's address and connecting. A packet that is lost is sent again after one second."""
_REMEMBERED = 10.0
"""Seconds for which a hub that could not be reached is not tried again: a model has several files."""

_unreachable_since: dict[tuple[str, int], float] = {}


def can_connect(endpoint: str) -> bool:
    """Whether something answers at an http(s) address, or at the proxy that requests to it go through.

    Args:
        endpoint: the address.
    """
    place = _first_hop(endpoint)
    if place is None:
        return True  # an address that the client may understand
    since = _unreachable_since.get(place)
    if since is not None and time.monotonic() - since < _REMEMBERED:
        return False
    if _connects(place):
        _unreachable_since.pop(place, None)
        return True
    _unreachable_since[place] = time.monotonic()
    return False


def _first_hop(endpoint: str) -> tuple[str, int] | None:
    """The host and port that a request goes to first; None if the address does not say them."""
    try:
        address = urlsplit(endpoint)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(address.scheme) or proxies.get("all")
        if proxy and address.hostname and not urllib.request.proxy_bypass(address.hostname):
            address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = address.port or (443 if address.scheme == "https" else 80)
    except ValueError:
        return None
    return None if address.hostname is None else (address.hostname, port)


def _connects(place: tuple[str, int]) -> bool:
    """Whether a connection can be made before the deadline. In a thread: looking up a name has none."""
    found: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection(place, timeout=_DEADLINE).close()
        except OSError:
            return
        found.append(True)

    thread = threading.Thread(target=connect, name="is the hub there", daemon=True)
    thread.start()
    thread.join(_DEADLINE)
    return bool(found)
