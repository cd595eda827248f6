"""Writes files atomically: a file is written whole or not at all."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from neuron_explainer.storage.locations import local_path

TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def replaced_atomically(path: str | os.PathLike[str], *, durable: bool = True, private: bool = False) -> Iterator[Path]:
    """Context manager that yields a temporary path beside `path`, and renames that file to `path` at the end.

    A reader sees the old file or the new one, never a part. If the block raises, `path` is unchanged and the temporary
    file is removed. A killed process leaves at most a file whose name ends in `.partial`. Missing folders are created.

    Args:
        path: the file to write.
        durable: whether to flush the file to the disk before it is renamed. Without it, a power cut may lose the new
            file; that is enough for files that are checked when read and can be downloaded again.
        private: whether only its user may read the file.

    Raises:
        UnsupportedLocationError: `path` is not a local path.
        OSError: the system refuses to write there, such as IsADirectoryError; it names `path`.

    An example:

        with replaced_atomically("result.json") as temporary:
            temporary.write_text("[]")
    """
    target = local_path("path", path)
    temporary = target.parent / f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}"
    try:
        with _errors_about(target, temporary):
            _make_folders(target)
            temporary.touch(mode=0o600 if private else 0o666)
            usual_mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(usual_mode)  # some writers create files that only their owner can read
            if durable:
                _flush_to_disk(temporary)
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):  # its folder may be none
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        _flush_to_disk(target.parent)


@contextlib.contextmanager
def _errors_about(target: Path, temporary: Path) -> Iterator[None]:
    """Within it, the system's errors about the temporary file or the folder are about the file that was asked for."""
    try:
        yield
    except OSError as error:
        ours = (str(temporary), *map(str, [target.parent, *target.parent.parents]))
        if error.errno is None or str(error.filename) not in ours:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from None


def _make_folders(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file is where a folder would be
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None


def write_bytes_atomically(
    path: str | os.PathLike[str], content: bytes, *, durable: bool = True, private: bool = False
) -> None:
    """Write `content` to `path` atomically; see `replaced_atomically`."""
    with replaced_atomically(path, durable=durable, private=private) as temporary:
        temporary.write_bytes(content)


def _flush_to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, from the system's buffers to the disk."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
