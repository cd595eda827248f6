"""How long a fit will take: measured on the first dimensions of its first prompt, and said before the rest runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from neuron_explainer.notices import is_interactive

_LEAST_SAID = 2.0  # seconds


class FitTime:
    """Measures a fit.

    Args:
        d_model: how many dimensions each prompt takes.
        n_prompts: how many prompts there are; None if that is not known.
        told: told how many more dimensions are done.
        says: whether a line says how long it will take; None: on a terminal or in a notebook.
    """

    def __init__(self, d_model: int, n_prompts: int | None, told: Callable[[int], object], says: bool | None) -> None:
        self._d_model, self._n_prompts, self._told = d_model, n_prompts, told
        self._has_said = not (is_interactive() if says is None else says)
        self._began, self._forward, self._n_batches = time.monotonic(), 0.0, 0

    def begin_prompt(self) -> None:
        """A prompt begins."""
        self._began = time.monotonic()

    def done(self, n_dimensions: int) -> None:
        """A backward pass is done; so many dimensions more. After the second one of all, the line is said."""
        self._told(n_dimensions)
        self._n_batches += 1
        if self._has_said:
            return
        passed = time.monotonic() - self._began
        if self._n_batches == 1 and n_dimensions < self._d_model:
            self._forward = passed  # a forward pass and the first backward one, which are slower than later ones
            return
        self._has_said = True
        by_prompt = passed if n_dimensions >= self._d_model else self._of_prompt(passed, n_dimensions)
        if by_prompt * (self._n_prompts or 1) >= _LEAST_SAID:
            from tqdm.auto import tqdm

            tqdm.write(fit_time_sentence(by_prompt, self._n_prompts))

    def _of_prompt(self, passed: float, n_dimensions: int) -> float:
        later = passed - self._forward
        return self._forward + later * (self._d_model / n_dimensions - 1)


def fit_time_sentence(seconds: float, n_prompts: int | None) -> str:
    """How long a fit takes, in words.

    Args:
        seconds: for a prompt.
        n_prompts: how many there are; None if that is not known.

    >>> fit_time_sentence(90.0, 100)
    'Fitting on 100 prompts of this length will take about 2.5 hours (1.5 minutes each). It can be stopped at any time.'
    """
    each = _words(seconds)
    if n_prompts is None or n_prompts == 1:
        return f"Fitting takes about {each} for a prompt of this length. It can be stopped at any time."
    return (
        f"Fitting on {n_prompts:,} prompts of this length will take about {_words(seconds * n_prompts)} ({each} each). "
        "It can be stopped at any time."
    )


def _words(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} seconds"
