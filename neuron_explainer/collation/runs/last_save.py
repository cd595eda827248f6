"""The state of a complete run, saved in a thread while its dataset is written."""

import logging
import threading
from collections.abc import Callable

_LOGGER = logging.getLogger("neuron_explainer.collation")


class LastSave:
    """Saves in a thread, which begins at once. What is saved serves a run whose dataset could not be written."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._thread = threading.Thread(target=self._try, name="collate saves its state")
        self._thread.start()

    def wait(self) -> None:
        """Wait until it is saved. If it could not be, that is logged: it does not matter once the dataset is there."""
        self._thread.join()

    def _try(self) -> None:
        try:
            self._save()
        except Exception as error:
            _LOGGER.warning("The state of the run could not be saved: %s", error)
