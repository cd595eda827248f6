"""A bar for work of many passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neuron_explainer.notices import is_interactive
from neuron_explainer.vocabulary.checks import checked_flag


@contextmanager
def passes_bar(
    n_passes: int | None, show: bool | None, what: str = "attributing", unit: str = "prompt", delay: float = 0.0
) -> Iterator[Callable[[int], object]]:
    """A bar; the function it gives is told how many more passes are done.

    Args:
        n_passes: how many there are; None if that is not known.
        show: whether there is a bar; None: on a terminal or in a notebook.
        what: what is done.
        unit: what is counted.
        delay: after how many seconds it appears, where `show` is None.

    Raises:
        InvalidRequestError: `show` is neither a boolean nor None.
    """
    if not (is_interactive() if show is None else checked_flag("progress", show)):
        yield lambda n_done: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_passes, desc=what, unit=unit, leave=False, delay=delay if show is None else 0.0) as bar:
        yield bar.update
