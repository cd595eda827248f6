"""The state of a complete run is saved only if its dataset could not be written."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from neuron_explainer.collation.runs.job import Job

_LOGGER = logging.getLogger("neuron_explainer.collation")


@contextmanager
def saved_if_it_fails(job: Job) -> Iterator[None]:
    """Save the work of a complete run if what follows fails or is stopped, so that the next call only writes.

    Saving takes about as long as writing the dataset, so it is not done for nothing.
    """
    try:
        yield
    except BaseException:
        if job.save_work is not None:
            try:
                job.save_work()
            except Exception as error:  # what stopped the run matters more
                _LOGGER.warning("The state of the run could not be saved: %s", error)
        raise
