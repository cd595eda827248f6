"""Archives of sentence encoders that are damaged, or that try to take time and memory."""

import io
import json
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from neuron_explainer.errors import (
    CheckpointError,
    MalformedCheckpointError,
    MissingTensorError,
    NeuronExplainerError,
    NonFiniteTensorError,
    TensorShapeError,
    TokenizerError,
    TokenizerMismatchError,
    TooLargeError,
    UnsupportedCheckpointError,
)
from neuron_explainer.explanations.embeddings import packed_model
from neuron_explainer.explanations.embeddings.bert import BertSizes
from neuron_explainer.explanations.embeddings.minilm import MiniLM

SIZES = BertSizes(6, 8, 2, 4, 8, 1, 2, 1e-12)
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 6,
    "max_position_embeddings": 8,
    "type_vocab_size": 2,
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def _tokenizer(*more: str) -> bytes:
    words = ["[UNK]", "[CLS]", "[SEP]", "cat", "dog", "##s", *more]
    tokenizer = Tokenizer(WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer.to_str().encode()


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in SIZES.shapes().items()}


def _archive(path: Path, **changed: Any) -> Path:
    members = {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": _tokenizer(),
        "model.safetensors": save(_tensors()),
    }
    members |= {name.replace("__", "."): content for name, content in changed.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def _read(path: Path) -> MiniLM:
    return MiniLM(path, torch.device("cpu"))


def test_a_whole_archive_is_read_and_long_texts_are_cut(tmp_path: Path) -> None:
    vectors = _read(_archive(tmp_path / "model.zip")).encode(["cat", "dogs", "cat " * 1000])
    assert vectors.shape == (3, 4)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("name", ["config__json", "tokenizer__json", "model__safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedCheckpointError, match=name.replace("__", r"\.")):
        _read(_archive(tmp_path / "model.zip", **{name: None}))


@pytest.mark.parametrize("name", ["config__json", "tokenizer__json", "model__safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 10_000, b"\xff" * 100, b'{"a": 1e999}'])
def test_a_file_with_other_content_is_a_typed_error(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises((CheckpointError, TokenizerError)):
        _read(_archive(tmp_path / "model.zip", **{name: content}))


def test_a_bomb_is_unpacked_no_further_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packed_model._MOST_BYTES, "model.safetensors", 2**20)
    with pytest.raises(TooLargeError, match="1,048,576"):
        _read(_archive(tmp_path / "model.zip", model__safetensors=bytes(50 * 2**20)))
    with pytest.raises(TooLargeError):
        _read(_archive(tmp_path / "model.zip", config__json=b" " * 2**20))


def test_a_bomb_that_lies_about_its_size_is_unpacked_no_further(tmp_path: Path) -> None:
    path = _archive(tmp_path / "model.zip", config__json=b" " * 2**20)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 2**20), struct.pack("<I", 100)))
    with pytest.raises((TooLargeError, MalformedCheckpointError)):
        _read(path)


def test_an_archive_that_is_too_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_model, "MOST_ARCHIVE_BYTES", 100)
    with pytest.raises(TooLargeError, match="100 bytes"):
        _read(_archive(tmp_path / "model.zip"))


def test_an_archive_of_very_many_files_is_refused(tmp_path: Path) -> None:
    many = {f"{number}.txt": b"" for number in range(2000)}
    with pytest.raises(MalformedCheckpointError):
        _read(_archive(tmp_path / "model.zip", **many))


def test_mangled_archives_are_typed_errors(tmp_path: Path) -> None:
    whole = _archive(tmp_path / "model.zip").read_bytes()
    chance, path, refusals = random.Random(0), tmp_path / "mangled.zip", []
    for _ in range(150):
        content = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randint(0, 8)):
            if content:
                content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            _read(path).encode(["cat"])
        except NeuronExplainerError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert max(map(len, refusals)) < 1000


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    name = "encoder.layer.0.output.dense.weight"
    tensors = _tensors()
    for changed, expected in (
        ({**tensors, name: torch.zeros(4, 4)}, TensorShapeError),
        ({**tensors, name: torch.full((4, 8), torch.nan)}, NonFiniteTensorError),
        ({each: tensor for each, tensor in tensors.items() if each != name}, MissingTensorError),
    ):
        with pytest.raises(expected, match=r"encoder\.layer\.0\.output\.dense\.weight"):
            _read(_archive(tmp_path / "model.zip", model__safetensors=save(changed)))


@pytest.mark.parametrize("change", [{"model_type": "llama"}, {"hidden_act": "relu"}, {"num_attention_heads": 3}])
def test_a_model_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedCheckpointError, match="BERT model"):
        _read(_archive(tmp_path / "model.zip", config__json=json.dumps({**CONFIG, **change}).encode()))


@pytest.mark.parametrize("change", [{"hidden_size": 0}, {"num_hidden_layers": 10**9}, {"vocab_size": "6"}])
def test_sizes_out_of_bounds_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(MalformedCheckpointError):
        _read(_archive(tmp_path / "model.zip", config__json=json.dumps({**CONFIG, **change}).encode()))


def test_a_tokenizer_with_ids_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerMismatchError, match="go to 6"):
        _read(_archive(tmp_path / "model.zip", tokenizer__json=_tokenizer("horse")))


def test_a_pickle_in_the_place_of_the_tensors_is_not_run(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(_tensors(), buffer)
    with pytest.raises(MalformedCheckpointError, match="safetensors"):
        _read(_archive(tmp_path / "model.zip", model__safetensors=buffer.getvalue()))
