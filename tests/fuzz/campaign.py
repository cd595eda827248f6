"""Fuzzing one target: many cases, and a report of each fault with its smallest input."""

import sys
from collections import Counter
from dataclasses import dataclass, field

from fuzz.reduction import SMALL, difference, reduced
from fuzz.worker_process import WorkerProcess

MOST_REPORTED = 5
_MOST_SHOWN = 1500
_PROGRESS_EVERY = 1000


@dataclass
class Campaign:
    """What came of the cases of a target.

    Attributes:
        target: its name.
        seed: of the cases.
        outcomes: how many were "loaded", "refused" or a "fault".
        first_by_fault: for each fault the number of the first case that had it.
        reports: for the first faults, what happened and the smallest input.
    """

    target: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    first_by_fault: dict[str, int] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)


def fuzzed(worker: WorkerProcess, target: str, seed: int, n_cases: int, *, seconds_to_reduce: float = 60.0) -> Campaign:
    """Run the cases of a target, and reduce those with different faults.

    Args:
        worker: runs them.
        target: its name.
        seed: another seed gives other cases.
        n_cases: how many.
        seconds_to_reduce: how long to look for a smaller input, for each fault.
    """
    campaign = Campaign(target, seed)
    for number, outcome, what in worker.cases(target, seed, 0, n_cases):
        campaign.outcomes[outcome] += 1
        if outcome == "fault":
            campaign.first_by_fault.setdefault(what, number)
        if (number + 1) % _PROGRESS_EVERY == 0:
            sys.stderr.write(f"{target}: {number + 1:,} of {n_cases:,} cases, {dict(campaign.outcomes)}\n")
    for what, number in list(campaign.first_by_fault.items())[:MOST_REPORTED]:
        campaign.reports.append(_report(worker, target, seed, number, what, seconds_to_reduce))
    return campaign


def _report(worker: WorkerProcess, target: str, seed: int, number: int, what: str, seconds: float) -> str:
    scene, content, file = worker.case(target, seed, number)
    _, valid, _ = worker.case(target, seed, scene)  # the first cases are the files as they are
    smallest = reduced(
        content, lambda candidate: worker.fault_of(target, scene, candidate) == what, valid=valid, seconds=seconds
    )
    place, before, after = difference(valid, smallest)
    lines = [
        f"{target}, seed {seed}, case {number} (scene {scene}, {file}): {what}",
        f"smallest input, of {len(content):,} bytes: {_shown(smallest)}",
    ]
    if len(smallest) > SMALL:
        lines.append(f"difference from the valid file, at byte {place}: {_shown(before)} became {_shown(after)}")
    return "\n".join(lines)


def _shown(content: bytes) -> str:
    return repr(content[:_MOST_SHOWN]) + (f" … {len(content):,} bytes" if len(content) > _MOST_SHOWN else "")
