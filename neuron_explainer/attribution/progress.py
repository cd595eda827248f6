"""A bar for work of many passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def passes_bar(n_passes: int, show: bool, what: str = "attributing") -> Iterator[Callable[[int], object]]:
    """A bar on a terminal or in a notebook, or none; the function it gives is told how many more passes are done."""
    if not show:
        yield lambda n_done: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_passes, desc=what, unit="prompt", leave=False) as bar:
        yield bar.update
