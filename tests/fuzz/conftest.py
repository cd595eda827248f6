"""The worker process that fuzz tests share."""

from collections.abc import Iterator

import pytest

from fuzz.worker_process import WorkerProcess


@pytest.fixture(scope="session")
def worker() -> Iterator[WorkerProcess]:
    """A worker; it is started when it is first needed."""
    shared = WorkerProcess()
    yield shared
    shared.close()
