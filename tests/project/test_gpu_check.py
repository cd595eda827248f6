"""`tools/gpu_check.py` runs without a GPU, on the smallest sizes, and finds what is wrong."""

import mmap
import subprocess
import sys

import pytest
import torch
import transformers

import neuron_explainer as ne
from benchmarks.every_scalar import REQUESTS
from benchmarks.gpu import quietness, scalars
from benchmarks.gpu.checks import Check, relative_error, run_checks
from benchmarks.gpu.quietness import WaitError, no_waits
from benchmarks.small_models import SMALL_CONFIGS
from helpers.paths import REPOSITORY
from neuron_explainer.models.families.registry import family_of


def test_it_passes_on_the_cpu() -> None:
    command = [sys.executable, str(REPOSITORY / "tools" / "gpu_check.py"), "--device", "cpu", "--smallest"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY.parent)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    lines = finished.stdout.splitlines()
    assert sum(line.startswith("PASS ") for line in lines) >= 10
    assert not [line for line in lines if line.startswith("FAIL")]
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 4
    assert len({line.count("|") for line in table}) == 1


def test_the_requests_derive_every_type_once() -> None:
    asked = [dst for request in REQUESTS for dst in request.dsts]
    assert sorted(asked) == sorted(ne.DerivedScalarType)


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_the_small_configs_mean_what_transformers_reads_in_them(name: str) -> None:
    entries = SMALL_CONFIGS[name]
    complete = transformers.AutoConfig.for_model(**entries).to_dict()
    family = family_of(entries)
    assert family.config(entries) == family.config(complete)


def test_a_wrong_number_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = scalars.all_scalars
    calls = []

    def wrong_on_the_device(*arguments: object) -> scalars.Results:
        results = right(*arguments)  # type: ignore[arg-type]
        calls.append(arguments)
        if len(calls) == 3:  # after float64 and float32 on the CPU
            key = next(key for key in results if key[1] is ne.DerivedScalarType.MLP_WRITE_NORM)
            results[key] = results[key] * 1.001
        return results

    monkeypatch.setattr(scalars, "all_scalars", wrong_on_the_device)
    in_float32, in_bfloat16 = scalars.check_scalars(["gpt2"], torch.device("cpu"))
    assert in_float32.passed is False
    assert "mlp_write_norm" in in_float32.detail
    assert in_bfloat16.passed is True


def test_an_error_fails_and_others_go_on() -> None:
    def breaks() -> list[Check]:
        raise ValueError("out of order")

    (check,) = run_checks("one", breaks)
    assert str(check) == "FAIL one: ValueError: out of order"


@pytest.mark.parametrize(
    "waits",
    [
        lambda numbers: numbers.sum().item(),
        lambda numbers: numbers[numbers > 0],
        lambda numbers: bool((numbers > 0).all()),
        lambda numbers: torch.ones(3).to(numbers.device),
        lambda numbers: numbers.copy_(torch.ones(3)),
    ],
    ids=["item", "mask", "bool", "to", "copy_"],
)
def test_whatever_waits_for_a_gpu_is_found(waits: object) -> None:
    numbers = torch.empty(3, device="meta")
    with pytest.raises(RuntimeError), no_waits(numbers.device):
        waits(numbers)  # type: ignore[operator]


def test_copies_that_do_not_wait_are_let_pass() -> None:
    with no_waits(torch.device("meta")):
        torch.ones(3).to("meta", non_blocking=True)
    assert issubclass(WaitError, RuntimeError)


def test_memory_that_is_kept_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[mmap.mmap] = []

    def keep(*_: object, **__: object) -> None:
        kept.append(mmap.mmap(-1, 2**20))  # always new memory; a bytearray may get some that was freed before
        kept[-1].write(bytes(2**20))

    monkeypatch.setattr(ne, "derive", keep)
    (check,) = quietness.check_memory(torch.device("cpu"), n_derives=40)
    assert check.passed is False


def test_errors_are_relative_and_see_what_is_not_finite() -> None:
    reference = torch.tensor([3.0, 4.0, float("-inf")])
    assert relative_error(reference, reference) == 0
    assert relative_error(torch.tensor([3.0, 4.5, float("-inf")]), reference) == pytest.approx(0.1)
    for wrong in ([3.0, 4.0, 0.0], [3.0, float("nan"), float("-inf")], [3.0, 4.0]):
        assert relative_error(torch.tensor(wrong), reference) == float("inf")
