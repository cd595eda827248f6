"""A model that does not fit says so before anything is read, and what would fit."""

import os
import re
from pathlib import Path

import pytest
import torch

import neuron_explainer as ne
from helpers.checkpoints import save_folder, small_gpt2, small_llama
from helpers.tiny_models import HF_CONFIGS, our_model
from neuron_explainer.errors import NeuronExplainerError, NotEnoughMemoryError, TensorShapeError
from neuron_explainer.models.offload import fitting
from neuron_explainer.models.offload.fitting import numbers_of
from neuron_explainer.models.offload.free_memory import free_bytes, free_of_system
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_numbers_are_counted_by_the_config_alone(name: str) -> None:
    model = our_model(name)
    whole, largest = numbers_of(model.config)
    assert whole == sum(parameter.numel() for parameter in model.parameters())
    layers = [sum(weight.numel() for weight in block.parameters()) for block in model.blocks]
    assert largest == max(*layers, model.embedding.numel())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_folder(small_llama(), tmp_path / "llama")


def with_free(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    """Let so many bytes be free."""
    monkeypatch.setattr(fitting, "free_bytes", lambda device: free)


N_NUMBERS = sum(weight.numel() for weight in small_llama().parameters())
LARGEST = sum(weight.numel() for weight in small_llama().model.layers[0].parameters())


@pytest.mark.parametrize(
    ("dtype", "free", "advice"),
    [
        (
            "float32",
            N_NUMBERS * 4 - 1,
            r"with dtype='bfloat16' \(.*\) or with offload='disk' \(reads a layer",
        ),
        ("float32", N_NUMBERS * 2 - 1, r"Load it with offload='disk' \(reads a layer at a time, .*\)\. If"),
        ("float32", LARGEST * 4 - 1, r"Load it with dtype='bfloat16' and offload='disk'\. If"),
        ("float32", LARGEST * 2 - 1, r"Choose a smaller model\. If"),
        ("float64", N_NUMBERS * 4, r"with dtype='float32' \(.*\) or with dtype='bfloat16'"),
        ("bfloat16", N_NUMBERS, r"Load it with offload='disk'"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, free: int, advice: str
) -> None:
    with_free(monkeypatch, free)
    monkeypatch.setattr(SafetensorsReader, "read", lambda *_, **__: pytest.fail("a weight was read"))
    with pytest.raises(NotEnoughMemoryError, match=advice) as caught:
        ne.load_model(folder, dtype=dtype, device="cpu")
    needed = N_NUMBERS * getattr(torch, dtype).itemsize
    assert (caught.value.needed, caught.value.free) == (needed, free)
    assert f"({needed:,} bytes), and cpu has" in str(caught.value)
    assert str(caught.value).startswith("llama does not fit: its weights take ")
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, NeuronExplainerError)


def test_the_advice_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, N_NUMBERS * 4 - 1)
    with pytest.raises(NotEnoughMemoryError, match=re.escape("load_model(…, check_memory=False)")):
        ne.load_model(folder, device="cpu")
    tokens = torch.tensor([[1, 2, 3]])
    expected = ne.load_model(folder, device="cpu", check_memory=False).get_or_create_model()(tokens)
    assert torch.equal(ne.load_model(folder, device="cpu", offload="disk").get_or_create_model()(tokens), expected)
    assert ne.load_model(folder, device="cpu", dtype="bfloat16").get_or_create_model().dtype == torch.bfloat16
    with_free(monkeypatch, N_NUMBERS * 4)
    assert torch.equal(ne.load_model(folder, device="cpu").get_or_create_model()(tokens), expected)
    with_free(monkeypatch, None)
    ne.load_model(folder, device="cpu")
    with_free(monkeypatch, LARGEST * 4 - 1)
    with pytest.raises(
        NotEnoughMemoryError, match=r"^the largest layer of llama does not fit.*Load it with dtype='bfloat16'"
    ):
        ne.load_model(folder, device="cpu", offload="disk")


def test_a_gpu_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(fitting, "free_bytes", lambda device: 10**9 if device.type == "cuda" else 10**11)
    config = our_model("llama").config
    monkeypatch.setattr(fitting, "numbers_of", lambda config: (10**9, 10**7))
    with pytest.raises(NotEnoughMemoryError, match=r"cuda:0 has 1\.0 GB free .*with device='cpu' \(100\.0 GB free\)"):
        fitting.refuse_what_does_not_fit("big", config, dtype=torch.float32, device=gpu)


def test_a_config_of_another_model_is_what_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config can ask for any size; if the files have another one, that is the error."""
    with_free(monkeypatch, N_NUMBERS * 4)
    config = small_llama().config.to_dict() | {"intermediate_size": 2**20}
    with pytest.raises(TensorShapeError):
        ne.load_model(folder, device="cpu", config=config)


def test_copies_of_a_model_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = small_gpt2()
    n_numbers = sum(weight.numel() for weight in theirs.parameters())
    with_free(monkeypatch, n_numbers * 8 - 1)
    ne.load_model(theirs)
    ne.load_model(theirs, dtype="float32", device="cpu")
    with pytest.raises(NotEnoughMemoryError, match=r"a copy of GPT2LMHeadModel does not fit: .*float64") as caught:
        ne.load_model(theirs, dtype="float64")
    assert caught.value.needed == n_numbers * 8
    assert ne.load_model(theirs, dtype="float64", check_memory=False).get_or_create_model().dtype == torch.float64


def system(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


MEMINFO = {"proc/meminfo": "MemTotal:       16000 kB\nMemFree:  10 kB\nMemAvailable:    8000 kB\n"}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8000 * 1024),
        # version 2: the limit of the group above counts, and so does what can be won back
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "10\n",
                "sys/fs/cgroup/a/memory.max": "5000000\n",
                "sys/fs/cgroup/a/memory.current": "3000000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 200000\nactive_file 30000\nslab_reclaimable 4000",
            },
            2234000,
        ),
        # in a container the group's own path is not there
        (
            {
                "proc/self/cgroup": "0::/../../host/path\n",
                "sys/fs/cgroup/memory.max": "4000000\n",
                "sys/fs/cgroup/memory.current": "1000000\n",
            },
            3000000,
        ),
        # version 1
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "6000000\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "5500000\n",
                "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 100000\ntotal_active_file 1\ncache 7\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5500000\n",
            },
            600001,
        ),
        # more is used than the limit allows
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "100\n",
                "sys/fs/cgroup/memory.current": "1000\n",
            },
            0,
        ),
    ],
)
def test_free_memory_of_linux(tmp_path: Path, files: dict[str, str], free: int) -> None:
    assert free_of_system(system(tmp_path, MEMINFO | files)) == free


def test_free_memory_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert free_of_system(tmp_path) == 4096000  # as on macOS
    monkeypatch.delattr(os, "sysconf")
    assert free_of_system(tmp_path) is None  # as on Windows
    assert free_bytes(torch.device("meta")) is None


def test_free_memory_here() -> None:
    free = free_bytes(CPU)
    assert free is None or free > 2**20
