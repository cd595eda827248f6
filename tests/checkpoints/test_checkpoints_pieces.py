"""Transformer Debugger's pieces, from a folder and an address: GPT-2 as transformers has it; every defect named."""

import json
import math
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.checkpoints import byte_level_tokenizer, logits_of, save_tdb_pieces, small_gpt2, some_tokens
from helpers.loopback_server import loopback_server, ok
from neuron_explainer.errors import (
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MissingTensorError,
    NonFiniteTensorError,
    TensorShapeError,
    TokenizerError,
    UnexpectedTensorError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.model_context import StandardModelContext


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tdb_pieces(small_gpt2(), tmp_path_factory.mktemp("pieces") / "small")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the pieces that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "small"))


def load(source: object, **options: Any) -> StandardModelContext:
    return ne.load_model(source, device="cpu", tokenizer=byte_level_tokenizer(), **options)


def rewrite(folder: Path, piece: str, content: object) -> None:
    torch.save(content, folder / "model_pieces" / f"{piece}.pt")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_logits_as_transformers(saved: Path, dtype: str) -> None:
    context = load(saved, dtype=dtype)
    tokens = some_tokens()
    expected = logits_of(small_gpt2().to(getattr(torch, dtype)), tokens)
    torch.testing.assert_close(context.get_or_create_model()(tokens), expected, atol=1e-5, rtol=1e-5)
    assert (context.n_layers, context.vocab_size, context.max_context_length) == (2, 320, 32)


@pytest.mark.parametrize("cache", ["on", "off"])
def test_an_address(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off" if cache == "off" else str(tmp_path / "cache"))
    with loopback_server() as server:
        for file in saved.rglob("*.*"):
            server.routes[f"/gpt2/small/{file.relative_to(saved).as_posix()}"] = ok(file.read_bytes())
        address = f"{server.address}/gpt2/small"
        context = load(address)
        tokens = some_tokens()
        logits = logits_of(small_gpt2(), tokens)
        torch.testing.assert_close(context.get_or_create_model()(tokens), logits, atol=1e-5, rtol=1e-5)
        assert context.model_name == address
        if cache == "on":
            n_asked = len(server.requests)
            load(address)
            assert len(server.requests) == n_asked
        del server.routes["/gpt2/small/model_pieces/final_ln.bias.pt"]
        monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "empty"))
        with pytest.raises(MissingTensorError, match=r"small/model_pieces/final_ln\.bias\.pt"):
            load(address)
        with pytest.raises(CheckpointNotFoundError, match=r"/nothing/config\.json does not exist.*model_pieces"):
            load(f"{server.address}/nothing")


def test_a_missing_piece(folder: Path) -> None:
    (folder / "model_pieces" / "xf_layers.1.attn.k_proj.bias.pt").unlink()
    with pytest.raises(MissingTensorError, match=r"xf_layers\.1\.attn\.k_proj\.bias\.pt") as missing:
        load(folder)
    assert missing.value.tensor == "xf_layers.1.attn.k_proj.bias"
    (folder / "model_pieces" / "tok_embed.weight.pt").unlink()
    with pytest.raises(MissingTensorError, match=r"tok_embed\.weight\.pt"):
        load(folder)


def test_a_piece_too_many(folder: Path) -> None:
    rewrite(folder, "xf_layers.2.ln_1.bias", torch.zeros(24))
    with pytest.raises(UnexpectedTensorError, match=r"xf_layers\.2\.ln_1\.bias"):
        load(folder)


def test_a_misshapen_piece(folder: Path) -> None:
    rewrite(folder, "xf_layers.0.mlp.in_layer.weight", torch.zeros(24, 96))  # the transposed shape
    with pytest.raises(TensorShapeError, match=r"mlp\.in_layer\.weight\.pt has shape \(24, 96\).*\(96, 24\)"):
        load(folder)
    rewrite(folder, "tok_embed.weight", torch.zeros(24))
    with pytest.raises(TensorShapeError, match=r"tok_embed\.weight\.pt has shape \(24,\)"):
        load(folder)


def test_a_number_that_is_not_finite(folder: Path) -> None:
    bias = torch.zeros(24)
    bias[5] = math.inf
    rewrite(folder, "xf_layers.0.attn.v_proj.bias", bias)
    with pytest.raises(NonFiniteTensorError, match=r"v_proj\.bias\.pt: tensor .* is inf at \[5\]"):
        load(folder)


@pytest.mark.parametrize("content", [{"a": torch.zeros(2)}, torch.zeros(24, dtype=torch.int64)])
def test_a_piece_that_is_no_tensor_of_numbers(folder: Path, content: object) -> None:
    rewrite(folder, "final_ln.bias", content)
    with pytest.raises(MalformedCheckpointError, match=r"final_ln\.bias\.pt holds (dict|torch\.int64)"):
        load(folder)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm-was-done",)


def test_nothing_in_a_piece_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    rewrite(folder, "final_ln.bias", _Harmful())
    with pytest.raises(UnsupportedCheckpointError, match=r"final_ln\.bias\.pt holds more than tensors"):
        load(folder)
    (folder / "model_pieces" / "final_ln.bias.pt").write_bytes(pickle.dumps(_Harmful(), protocol=2))
    with pytest.raises(UnsupportedCheckpointError, match=r"final_ln\.bias\.pt holds more than tensors"):
        load(folder)
    assert not (folder / "harm-was-done").exists()


def test_a_piece_that_is_cut_off(folder: Path) -> None:
    file = folder / "model_pieces" / "unembed.weight.pt"
    for length in (0, 3, 500, file.stat().st_size - 1):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises((MalformedCheckpointError, UnsupportedCheckpointError), match=r"unembed\.weight\.pt"):
            load(folder)
        rewrite(folder, "unembed.weight", small_gpt2().lm_head.weight.detach())


def test_configs_that_cannot_be_used(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())

    def write(**changes: object) -> None:
        (folder / "config.json").write_text(json.dumps(config | changes))

    write(m_attn=0.5)
    with pytest.raises(UnsupportedCheckpointError, match=r"m_attn is 0\.5"):
        load(folder)
    write(n_heads="three")
    with pytest.raises(MalformedCheckpointError, match="no whole number for n_heads"):
        load(folder)


def test_the_tokenizer_that_is_there_or_named(folder: Path) -> None:
    byte_level_tokenizer().save(str(folder / "tokenizer.json"))
    context = ne.load_model(folder, device="cpu")
    assert context.encode(" Mary") == byte_level_tokenizer().encode(" Mary").ids
    (folder / "tokenizer.json").unlink()
    config = json.loads((folder / "config.json").read_text()) | {"enc": "cl100k_base"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TokenizerError, match=r"'cl100k_base'.*tokenizer="):
        ne.load_model(folder, device="cpu")
