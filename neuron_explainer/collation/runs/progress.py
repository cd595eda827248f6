"""How far a run is: a bar on a terminal or in a notebook, a line now and then elsewhere."""

import logging
import sys
import time
from typing import Any

LOGGER = logging.getLogger("neuron_explainer.collation")
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts tokens, and tells tokens per second and the time left as well as they can be known.

    Attributes:
        n_tokens: how many tokens were run, those of an earlier process included.
    """

    def __init__(
        self,
        *,
        show: bool | None = None,
        max_tokens: int | None = None,
        n_characters: int | None = None,
    ) -> None:
        """Begin to count.

        Args:
            show: True shows a bar, False nothing at all; None a bar where someone can see it, and log lines elsewhere.
            max_tokens: how many there will be at most, if there is a limit.
            n_characters: about how many characters the texts have, if that is known.
        """
        self.n_tokens = 0
        self._max_tokens = max_tokens
        self._n_characters = n_characters
        self._began_with = 0
        self._began_at = self._last_line_at = time.monotonic()
        self._logs = show is None and not _someone_is_looking()
        self._bar: Any = None
        if show or (show is None and not self._logs):
            from tqdm.auto import tqdm

            self._bar = tqdm(desc="collating", unit=" tokens", unit_scale=True, total=max_tokens, dynamic_ncols=True)

    def resume(self, n_tokens: int) -> None:
        """Count from where an earlier process had come to."""
        self.n_tokens = self._began_with = n_tokens
        self._began_at = time.monotonic()
        if self._bar is not None:
            self._bar.initial = self._bar.n = n_tokens

    def advance(self, tokens: int, characters_done: int) -> None:
        """Count a batch.

        Args:
            tokens: how many tokens it had.
            characters_done: how many characters the texts had up to about here.
        """
        self.n_tokens += tokens
        total = self._total(characters_done)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(tokens)
        now = time.monotonic()
        if self._logs and now - self._last_line_at >= _SECONDS_BETWEEN_LINES:
            self._last_line_at = now
            LOGGER.info(self.line(now, total))

    def line(self, now: float, total: int | None) -> str:
        """One line: tokens, how many of how many, tokens per second, time left."""
        rate = (self.n_tokens - self._began_with) / max(now - self._began_at, 1e-9)
        line = f"{self.n_tokens:,} tokens, {rate:,.0f} tokens/s"
        if total is not None and rate > 0:
            left = max(0, total - self.n_tokens) / rate
            line += f", {100 * self.n_tokens / max(total, 1):.0f}%, {_spoken(left)} left"
        return line

    def finish(self) -> None:
        """Close the bar, or log the last line."""
        if self._bar is not None:
            self._bar.total = self.n_tokens
            self._bar.refresh()
            self._bar.close()
        elif self._logs:
            LOGGER.info("done: %s", self.line(time.monotonic(), None))

    def _total(self, characters_done: int) -> int | None:
        """How many tokens there will be: by the tokens per character so far, if the texts' length is known."""
        totals = [self._max_tokens] if self._max_tokens is not None else []
        if self._n_characters is not None and characters_done > 0:
            totals.append(max(self.n_tokens, round(self.n_tokens * self._n_characters / characters_done)))
        return min(totals, default=None)


def _spoken(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _someone_is_looking() -> bool:
    """Whether standard error is a terminal, or a notebook shows it."""
    interactive_shell = sys.modules.get("IPython")
    in_notebook = (
        interactive_shell is not None and getattr(interactive_shell, "get_ipython", lambda: None)() is not None
    )
    return in_notebook or sys.stderr.isatty()
