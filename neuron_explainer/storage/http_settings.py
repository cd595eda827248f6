"""Time-outs and retries of downloads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HttpSettings:
    """Time-outs and retries of a download.

    Attributes:
        retries: how many times to retry after a connection error, a download that is cut off, or a status 429 or 5xx.
        pause: seconds to wait before the second retry; doubled for each further one. The first retry is immediate.
        longest_pause: the most seconds to wait before a retry, even if the server's Retry-After asks for more.
        connect_timeout: seconds allowed to connect.
        read_timeout: seconds allowed between two pieces of a body.
        total_timeout: seconds allowed for the whole download, with its redirects, retries and pauses.

    An example: `load_neuron(address, 2, 5, settings=HttpSettings(retries=0, connect_timeout=1))`.
    """

    retries: int = 3
    pause: float = 0.25
    longest_pause: float = 30.0
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    total_timeout: float = 900.0


DEFAULT_SETTINGS = HttpSettings()
