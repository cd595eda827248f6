"""A full disk, as an error that says what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from neuron_explainer.errors import OutOfSpaceError

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def raise_if_disk_full(folder: Path) -> Iterator[None]:
    """Turn an error of a write that failed for lack of space into an OutOfSpaceError. Other errors pass.

    Args:
        folder: what the error names.

    Raises:
        OutOfSpaceError: the disk is full, a quota is used up, or a file reached its largest size.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors reports the system's error as text alone.
        number = error.errno if isinstance(error, OSError) else None
        full = number in _DISK_IS_FULL or any(f"os error {code})" in str(error) for code in _DISK_IS_FULL)
        if not full:
            raise
        raise OutOfSpaceError(
            number or errno.ENOSPC,
            f"The disk is full ({error}). What was saved before is intact. Free some space and run the same command "
            "again to go on",
            os.fspath(folder),
        ) from None
