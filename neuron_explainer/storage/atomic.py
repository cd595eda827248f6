"""Files that are either wholly there or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def replaced_atomically(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside `path`; when the block ends well, what was written there becomes `path`.

    A reader sees the old file or the new one, never a part, and the bytes are on the disk before the name changes. When
    the block fails, `path` is as it was and the temporary file is gone. A process that is killed leaves at most a file
    whose name ends in `.partial`. Missing folders are made. Not `durable`, a power cut may still cost the new file: for
    what is checked when it is read, and can be had again.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}"
    try:
        temporary.touch()
        usual_mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual_mode)  # some writers make files that their owner alone can read
        if durable:
            _flush_to_disk(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _flush_to_disk(target.parent)


def write_bytes_atomically(path: str | os.PathLike[str], content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` by `replaced_atomically`."""
    with replaced_atomically(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def _flush_to_disk(path: Path) -> None:
    """Ask the system to keep what it holds of a file, or of a folder's names, on the disk."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
