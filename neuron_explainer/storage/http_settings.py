"""How patient downloads are."""

from dataclasses import dataclass


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

    retries: int = 3
    pause: float = 0.25
    longest_pause: float = 30.0
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    total_timeout: float = 900.0


DEFAULT_SETTINGS = HttpSettings()
