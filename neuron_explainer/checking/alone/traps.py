"""Faults of library versions that give wrong numbers without an error, as data."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from neuron_explainer.checking.findings import Finding, not_checked, passed

Version = tuple[int, ...]


@dataclass(frozen=True)
class Trap:
    """A fault of some versions of a library.

    Attributes:
        package: the library.
        since, before: the versions that have it: from one on, and below another; None: no bound is known.
        devices: the types of devices on which it shows.
        dtypes: the dtypes in which it shows; empty: all.
        issue: where it is described.
        what: what goes wrong.
    """

    package: str
    since: Version
    before: Version | None
    devices: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    issue: str
    what: str

    def holds_for(self, version: Version, device: str, dtype: torch.dtype) -> bool:
        """Whether a version has it, on a device and in a dtype."""
        is_old_enough = self.before is None or version < self.before
        return (
            self.since <= version
            and is_old_enough
            and device in self.devices
            and (not self.dtypes or dtype in self.dtypes)
        )


_HALVES = (torch.float16, torch.bfloat16)

TRAPS = (
    Trap(
        "torch", (2, 8, 0), (2, 9), ("mps",), (), "pytorch/pytorch#163597",
        "attention is wrong for queries, keys and values that are not contiguous",
    ),
    Trap(
        "torch", (2, 8, 0), (2, 9), ("mps",), (), "pytorch/pytorch#162730",
        "linear maps are wrong for weights that are not contiguous",
    ),
    Trap(
        "torch", (2, 6), (2, 11), ("mps",), (), "pytorch/pytorch#174861",
        "attention over long contexts with shared keys reads beyond its memory",
    ),
    Trap(
        "torch", (2, 11), None, ("mps",), _HALVES, "pytorch/pytorch#195910",
        "causal attention lets tokens attend to later ones",
    ),
)  # fmt: skip
"""What is known. A trap says where to look; the other checks say whether it shows."""


def known_traps(
    device: torch.device, dtype: torch.dtype, versions: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Whether a version that is installed is known for a fault on a device and in a dtype.

    Args:
        device, dtype: the model's.
        versions: the versions of packages; None: those that are installed.
    """
    name = "known faults of versions"
    installed = {trap.package: _installed(trap.package) for trap in TRAPS} if versions is None else versions
    found = [
        trap
        for trap in TRAPS
        if (version := installed.get(trap.package)) and trap.holds_for(version_numbers(version), device.type, dtype)
    ]
    for trap in found:
        said = f"{trap.package} {installed[trap.package]} on {device.type}: {trap.what} ({trap.issue})."
        yield not_checked(name, f"{said} Whether it shows here, the other checks say.")
    products = torch.get_float32_matmul_precision()
    if dtype == torch.float32 and products != "highest":
        said = f'torch.get_float32_matmul_precision() is "{products}", which may leave products fewer digits.'
        yield not_checked("precision of products", f'{said} With "highest" they have all of float32.')
    if not found and any(device.type in trap.devices for trap in TRAPS):
        known = ", ".join(f"{package} {version}" for package, version in installed.items() if version)
        yield passed(name, f"None is known for {known} on {device.type}.")


def version_numbers(version: str) -> Version:
    """The numbers of a version, without what follows them.

    >>> version_numbers("2.13.0+cpu")
    (2, 13, 0)
    """
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(each) for each in found[0].split(".")) if found else ()


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
