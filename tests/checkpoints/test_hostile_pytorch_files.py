"""`.pt` files that are damaged, that unpack to far more than they are, or whose tensors are not plain."""

import functools
import io
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.autoencoder_files import state_dict
from neuron_explainer.errors import (
    AutoencoderFormatError,
    CheckpointError,
    MalformedCheckpointError,
    UnreadableFileError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file

UNUSUAL: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sparse": lambda weight: weight.to_sparse(),
    "csr": lambda weight: weight.to_sparse_csr(),
    "meta": lambda weight: weight.to("meta"),
    "float8": lambda weight: weight.to(torch.float8_e4m3fn),
    "quantised": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    "nested": lambda weight: torch.nested.nested_tensor(list(weight), layout=torch.jagged),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch, about these kinds of tensors
@pytest.mark.parametrize("kind", UNUSUAL)
def test_tensors_that_are_not_plain_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "0.pt"
    content = state_dict()
    torch.save(content | {"encoder.weight": UNUSUAL[kind](content["encoder.weight"])}, path)
    with pytest.raises(CheckpointError, match=r"Weights must be plain tensors|damaged or not a PyTorch file"):
        load_autoencoder(path)
    torch.save([{"nested": (UNUSUAL[kind](content["encoder.weight"]),)}], path)
    with pytest.raises(CheckpointError):
        read_pytorch_file(path)


def test_a_tensor_that_claims_more_numbers_than_the_file_stores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.pt"
    torch.save(state_dict() | {"encoder.weight": torch.ones(1, 1).expand(10**6, 10**6)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(MalformedCheckpointError, match=r"shape \(1000000, 1000000\), but the file stores 4 bytes"):
        load_autoencoder(path)


def test_a_file_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    saved, path = io.BytesIO(), tmp_path / "0.pt"
    torch.save({"pre_bias": torch.zeros(4_000_000)}, saved)
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in archive.namelist():
            packed.writestr(member, archive.read(member))
    with pytest.raises(MalformedCheckpointError, match=r"unpacks to 16\d{6}"):
        read_pytorch_file(path)


def test_containers_may_hold_themselves_and_be_deep(tmp_path: Path) -> None:
    path = tmp_path / "0.pt"
    content: dict[str, Any] = {"pre_bias": torch.zeros(2)}
    content["itself"] = content
    torch.save(content, path)
    assert read_pytorch_file(path)["pre_bias"].shape == (2,)


def damaged(change: Callable[[bytes], bytes]) -> bytes:
    """A saved state dict whose pickle has been changed, in a sound archive."""
    saved, result = io.BytesIO(), io.BytesIO()
    torch.save(state_dict(), saved)
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(result, "w") as packed:
        for member in archive.namelist():
            content = archive.read(member)
            packed.writestr(member, change(content) if member.endswith("data.pkl") else content)
    return result.getvalue()


def with_byte(position: int, value: int, content: bytes) -> bytes:
    return content[:position] + bytes([value]) + content[position + 1 :]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_damaged_pickle_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "0.pt"
    pickle_length = len(damaged(lambda content: content))
    n_refused = 0
    for position in range(2, 400, 3):
        for value in (0, 0x52, 0x85, 0xFF):  # REDUCE and TUPLE1 among them
            path.write_bytes(damaged(functools.partial(with_byte, position, value)))
            try:
                load_autoencoder(path)
            except (CheckpointError, AutoencoderFormatError):
                n_refused += 1
    assert pickle_length > 400
    assert n_refused > 300


def test_objects_and_pipes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.pt"
    torch.save({"pre_bias": os.getcwd}, path)
    with pytest.raises(UnsupportedCheckpointError, match="could run code"):
        read_pytorch_file(path)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(UnreadableFileError, match="pipe"):
        read_pytorch_file(tmp_path / "pipe.pt")


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {1: 2, "a": 3},
        {"encoder.weight": "text"},
        state_dict() | {"activation": ["ReLU"]},
        state_dict() | {"activation": "TopK", "activation_state_dict": {"k": float("nan")}},
        state_dict() | {"activation": "TopK", "activation_state_dict": {"k": 2, "postact_fn": []}},
        state_dict() | {"activation": "TopK", "activation_state_dict": {"k": torch.tensor([1.0, 2.0])}},
        state_dict() | {"x" * 100_000: 1},
    ],
)
def test_state_dicts_of_other_things_are_typed_errors_of_bounded_length(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "0.pt"
    torch.save(content, path)
    with warnings.catch_warnings(), pytest.raises(AutoencoderFormatError) as caught:
        load_autoencoder(path)
    assert len(str(caught.value)) < 1_000
