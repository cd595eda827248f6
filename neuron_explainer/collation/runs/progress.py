"""A run's progress: a bar on a terminal or in a notebook, a log line every ten seconds elsewhere."""

import logging
import time
from typing import Any

from neuron_explainer.notices import is_interactive
from neuron_explainer.vocabulary.checks import checked_flag

LOGGER = logging.getLogger("neuron_explainer.collation")
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts tokens, and shows tokens per second and an estimate of the time left.

    Attributes:
        n_tokens: how many tokens ran through the model, those of an earlier process included.
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
            show: True: a bar; False: nothing; None: a bar on a terminal or in a notebook, log lines elsewhere.
            max_tokens: the limit of tokens; None: no limit.
            n_characters: about how many characters the texts have; None: unknown.

        Raises:
            InvalidRequestError: `show` is none of these.
        """
        if show is not None:
            checked_flag("progress", show)
        self.n_tokens = 0
        self._max_tokens = max_tokens
        self._n_characters = n_characters
        self._began_with = 0
        self._began_at = self._last_line_at = time.monotonic()
        self._logs = show is None and not is_interactive()
        self._bar: Any = None
        if show or (show is None and not self._logs):
            from tqdm.auto import tqdm

            self._bar = tqdm(desc="collating", unit=" tokens", unit_scale=True, total=max_tokens, dynamic_ncols=True)

    def resume(self, n_tokens: int) -> None:
        """Count from where an earlier process stopped."""
        self.n_tokens = self._began_with = n_tokens
        self._began_at = time.monotonic()
        if self._bar is not None:
            self._bar.initial = self._bar.n = self._bar.last_print_n = n_tokens
            self._bar.start_t = self._bar.last_print_t = time.time()  # tqdm's own clock
            self._bar.refresh()

    def advance(self, tokens: int, characters_done: int) -> None:
        """Count a batch.

        Args:
            tokens: how many tokens it has.
            characters_done: about how many characters of the texts are done.
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
        """One line: tokens, tokens per second, percentage done, time left."""
        rate = (self.n_tokens - self._began_with) / max(now - self._began_at, 1e-9)
        line = f"{self.n_tokens:,} tokens, {rate:,.0f} tokens/s"
        if total is not None and rate > 0:
            left = max(0, total - self.n_tokens) / rate
            line += f", {100 * self.n_tokens / max(total, 1):.0f}%, {_hours_minutes_seconds(left)} left"
        return line

    def stop(self) -> None:
        """Close the bar where it stands, or log how far the run has come: it stops before its end."""
        if self._bar is not None:
            self._bar.set_description_str("stopped", refresh=False)
            self._bar.refresh()
            self._bar.close()
        elif self._logs:
            LOGGER.info("stopped: %s", self.line(time.monotonic(), None))

    def finish(self) -> None:
        """Close the bar at its end, or log the last line."""
        if self._bar is not None:
            self._bar.total = self.n_tokens
            self._bar.refresh()
            self._bar.close()
        elif self._logs:
            LOGGER.info("done: %s", self.line(time.monotonic(), None))

    def _total(self, characters_done: int) -> int | None:
        """How many tokens there will be, estimated by the tokens per character so far; None: unknown."""
        totals = [self._max_tokens] if self._max_tokens is not None else []
        if self._n_characters is not None and characters_done > 0:
            totals.append(max(self.n_tokens, round(self.n_tokens * self._n_characters / characters_done)))
        return min(totals, default=None)


def _hours_minutes_seconds(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
