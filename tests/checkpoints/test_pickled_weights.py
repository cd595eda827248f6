"""Pickled weights are read if they are asked for, and run nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import neuron_explainer as ne
from helpers.checkpoints import save_folder, small_gpt2, small_llama
from neuron_explainer.errors import (
    CheckpointNotFoundError,
    InvalidRequestError,
    MalformedCheckpointError,
    MissingTensorError,
    UnsupportedCheckpointError,
)

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
TOKENS = torch.tensor([[5, 17, 3, 300]])


def pickled_folder(model: Any, folder: Path) -> Path:
    save_folder(model, folder)
    torch.save(load_file(folder / SAFE), folder / PICKLED)
    (folder / SAFE).unlink()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pickled_folder(small_llama(), tmp_path / "small")


def load(folder: Path, **options: Any) -> ne.StandardModelContext:
    return ne.load_model(folder, device="cpu", pickled=True, **options)


def test_without_being_asked_for_they_are_not_read(folder: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"contains: .*pytorch_model\.bin.*pickled=True"):
        ne.load_model(folder, device="cpu")


@pytest.mark.parametrize("make", [small_llama, small_gpt2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_they_give_the_same_model(make: Any, dtype: str, tmp_path: Path) -> None:
    model = make()
    loaded = load(pickled_folder(model, tmp_path / "small"), dtype=dtype).get_or_create_model()
    expected = ne.load_model(save_folder(model, tmp_path / "safe"), device="cpu", dtype=dtype).get_or_create_model()
    assert torch.equal(loaded(TOKENS), expected(TOKENS))


def test_shards_are_read_one_after_the_other(folder: Path) -> None:
    tensors = torch.load(folder / PICKLED, weights_only=True)
    names: list[str] = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(3):
        file = f"pytorch_model-{number}.bin"
        part = {name: tensors[name].clone() for name in names[number::3]}
        torch.save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    expected = load(folder).get_or_create_model()(TOKENS)
    (folder / PICKLED).unlink()
    index = folder / f"{PICKLED}.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert torch.equal(load(folder).get_or_create_model()(TOKENS), expected)
    index.write_text(json.dumps({"weight_map": {**weight_map, "model.no.such.weight": "pytorch_model-0.bin"}}))
    with pytest.raises(MissingTensorError, match=r"model\.no\.such\.weight"):
        load(folder)
    index.write_text(json.dumps({"weight_map": {**weight_map, names[0]: "../weights.bin"}}))
    with pytest.raises(MalformedCheckpointError, match="not a bin file"):
        load(folder)
    index.write_text(json.dumps({"weight_map": weight_map}))
    torch.save(tensors, folder / "pytorch_model-0.bin")
    with pytest.raises(MalformedCheckpointError, match="in one of them"):
        load(folder)


def test_safetensors_come_first(folder: Path) -> None:
    save_folder(small_llama(), folder)
    (folder / PICKLED).write_bytes(b"not read")
    assert load(folder).n_layers == 2


class _Program:
    def __reduce__(self) -> Any:
        return os.mkdir, ("was_run",)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"model.norm.weight": _Program()}, UnsupportedCheckpointError),
        ([torch.ones(3)], MalformedCheckpointError),
        ({"model.norm.weight": "text"}, MalformedCheckpointError),
        (b"not a pickle", UnsupportedCheckpointError),
        ({"model.norm.weight": torch.ones(64, dtype=torch.int64)}, UnsupportedCheckpointError),
    ],
)
def test_what_is_more_than_weights_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: Any, error: type[Exception]
) -> None:
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        (folder / PICKLED).write_bytes(content)
    else:
        if isinstance(content, dict):
            content = {**torch.load(folder / PICKLED, weights_only=True), **content}
        torch.save(content, folder / PICKLED)
    with pytest.raises(error, match="pytorch_model"):
        load(folder)
    assert not (tmp_path / "was_run").exists()


def test_an_old_pytorch_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(UnsupportedCheckpointError, match=r"2\.6 or newer.*2\.5\.1"):
        load(folder)


def test_they_cannot_stay_on_disk(folder: Path) -> None:
    with pytest.raises(InvalidRequestError, match="pickled"):
        load(folder, offload="disk")
