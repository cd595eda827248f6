"""The fuzzing itself: planted faults of every kind are found, and their inputs are reduced."""

import json
import random
import time

import pytest

from fuzz.campaign import fuzzed
from fuzz.mutations import mutated_bytes, mutated_json
from fuzz.reduction import difference, reduced
from fuzz.worker_process import WorkerProcess

N_CASES = 120


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        ("exception", "builtins.KeyError at tests/fuzz/planted.py:"),
        ("panic", "builtins.BaseException at tests/fuzz/planted.py:"),
        ("warning", "RuntimeWarning at tests/fuzz/planted.py:"),
        ("insane", "builtins.AssertionError at tests/fuzz/planted.py:"),
        ("memory", "more than 64 MiB"),
    ],
)
def test_planted_faults_are_found_and_reduced(planted: str, what: str, worker: WorkerProcess) -> None:
    campaign = fuzzed(worker, f"planted_{planted}", 0, N_CASES)
    (fault,) = campaign.first_by_fault
    assert fault.startswith(what)
    assert campaign.outcomes["fault"]
    (report,) = campaign.reports
    assert report.endswith("""bytes: b'""'"""), report
    number = campaign.first_by_fault[fault]
    assert f"planted_{planted}, seed 0, case {number} (scene" in report
    scene, content, _ = worker.case(f"planted_{planted}", 0, number)
    assert worker.fault_of(f"planted_{planted}", scene, content) == fault


def test_without_a_fault_nothing_is_reported(worker: WorkerProcess) -> None:
    campaign = fuzzed(worker, "planted_nothing", 0, N_CASES)
    assert campaign.reports == []
    assert campaign.outcomes.total() == campaign.outcomes["loaded"] + campaign.outcomes["refused"] == N_CASES


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        ("crash", "the process ended (SIGABRT)"),
        ("read_of_address_0", "the process ended (SIGSEGV)"),
        ("endless", "no answer for 5 seconds"),
        ("slow", "more than 0.5 seconds"),
    ],
)
def test_what_ends_or_stops_the_process_is_found(planted: str, what: str) -> None:
    worker = WorkerProcess(longest_silence=5.0 if planted == "endless" else 60.0)
    try:
        assert worker.fault_of(f"planted_{planted}", 0, b'{"": 1}') == what
        assert worker.fault_of(f"planted_{planted}", 0, b"{}") is None
        assert worker.n_started == (1 if planted == "slow" else 2)
    finally:
        worker.close()


def test_cases_go_on_after_one_that_ended_the_process(worker: WorkerProcess) -> None:
    outcomes = list(worker.cases("planted_crash", 0, 0, 60))
    assert [number for number, _, _ in outcomes] == list(range(60))
    faults = [number for number, outcome, _ in outcomes if outcome == "fault"]
    assert faults
    assert faults[0] < 59


def test_inputs_are_reduced() -> None:
    noise = random.Random(0).randbytes(2000).replace(b"AB", b"")
    assert reduced(noise[:700] + b"AB" + noise[700:], lambda content: b"AB" in content) == b"AB"
    value = {"a": [1, {"b": [5, 6, 7], "c": "text"}], "d": None}

    def has_six(content: bytes) -> bool:
        try:
            return 6 in json.loads(content)["a"][0]["b"]
        except (ValueError, KeyError, IndexError, TypeError):
            return False

    assert reduced(json.dumps({**value, "a": value["a"][1:]}).encode(), has_six) == b'{"a":[{"b":[6]}]}'  # type: ignore[index]
    changed = noise[:700] + b"!" + noise[701:900] + b"?" + noise[901:]
    nearest = reduced(changed, lambda content: b"?" in content[900:901] and len(content) == len(noise), valid=noise)
    assert difference(noise, nearest) == (900, noise[900:901], b"?")
    begun = time.monotonic()
    reduced(b"x" * 10**6, lambda content: time.monotonic() > begun + 0.01, seconds=0.2)
    assert time.monotonic() - begun < 2


def test_the_same_seed_makes_the_same_changes() -> None:
    content = json.dumps({"a": [1, 2], "b": "text"}).encode()
    for mutate in (mutated_bytes, mutated_json):
        made = [[mutate(content, random.Random(seed)) for seed in range(50)] for _ in range(2)]
        assert made[0] == made[1]
        assert len(set(made[0])) > 30
