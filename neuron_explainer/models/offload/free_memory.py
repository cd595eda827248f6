"""How much memory is free on a device, as far as the system tells."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class _GroupFiles:
    """What the files of a control group are called, and the entries of its `memory.stat` that can be won back."""

    limit: str
    usage: str
    won_back: tuple[str, ...]


_VERSION_1 = _GroupFiles("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
_VERSION_2 = _GroupFiles("memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable"))


def free_bytes(device: torch.device) -> int | None:
    """The memory in bytes that new tensors on a device can take; None if that cannot be known.

    Of the CPU it is what the system calls available (memory that it can win back from its file cache is), or less if
    a control group, such as a container's, has a limit. Of a GPU it includes what torch keeps for new tensors.
    """
    if device.type == "cpu":
        return free_of_system()
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps" and hasattr(torch.mps, "recommended_max_memory"):
        return int(torch.mps.recommended_max_memory()) - int(torch.mps.current_allocated_memory())
    return None


def free_of_system(root: Path = Path("/")) -> int | None:
    """The CPU's memory that is free.

    Where the system does not say (macOS), it is all the memory that the machine has.

    Args:
        root: the folder in which Linux has `proc` and `sys`.
    """
    available = _entry(root / "proc/meminfo", "MemAvailable:")
    found = [each for each in (available, *_free_of_groups(root)) if each is not None]
    return max(0, min(found)) if found else _whole_memory()


def _free_of_groups(root: Path) -> Iterator[int | None]:
    """What each control group that this process is in, and each group above it, has left of its limit."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount, files = root / "sys/fs/cgroup", _VERSION_2
        elif "memory" in controllers.split(","):
            mount, files = root / "sys/fs/cgroup/memory", _VERSION_1
        else:
            continue
        # In a container the path may be the host's, which is not there; the container's group is then the mount itself.
        parts = [part for part in path.strip("/").split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            yield _free_of_group(mount.joinpath(*parts[:depth]), files)


def _free_of_group(folder: Path, files: "_GroupFiles") -> int | None:
    limit, usage = (_number(" ".join(_lines(folder / name))) for name in (files.limit, files.usage))
    if limit is None or usage is None:
        return None
    return limit - usage + sum(_entry(folder / "memory.stat", name) or 0 for name in files.won_back)


def _entry(file: Path, name: str) -> int | None:
    """The number after a name, in bytes."""
    for line in _lines(file):
        words = line.split()
        if len(words) > 1 and words[0] == name:
            number = _number(words[1])
            return number * 1024 if number is not None and words[2:] == ["kB"] else number
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None  # a group without a limit has "max"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _whole_memory() -> int | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no such function
        return None
    return size if size > 0 else None
