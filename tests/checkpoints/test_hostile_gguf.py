"""GGUF metadata from outside: every entry with nasty values is read, or refused by a typed error."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.checkpoints import small_llama
from helpers.gguf_files import KINDS, NASTY, write_llama
from neuron_explainer.errors import MalformedCheckpointError, NeuronExplainerError, NonFiniteTensorError
from neuron_explainer.models.tensor_files.gguf_file import GgufFile


@pytest.mark.parametrize("vocabulary", ["gpt2", "llama"])
def test_every_entry_with_every_nasty_value(vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = GgufFile.open(write_llama(tmp_path / "model.gguf", small_llama()))
    n_tokens = len(whole.metadata["tokenizer.ggml.tokens"])
    metadata = {
        **whole.metadata, "tokenizer.ggml.model": vocabulary,
        "tokenizer.ggml.scores": [-float(rank) for rank in range(n_tokens)],
        "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.unknown_token_id": 0,
        "llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0, "llama.expert_count": 0,
        "llama.attention.key_length": 16, "tokenizer.ggml.add_space_prefix": True, "tokenizer.ggml.eot_token_id": 1,
    }  # fmt: skip
    outcomes = []
    for place, key in enumerate([None, *metadata]):
        for value in NASTY[place % 3 :: 3] if key else NASTY[:1]:  # a third of the pairs, each value for some keys
            changed = {**metadata, key: value} if key else metadata
            monkeypatch.setattr(GgufFile, "open", lambda path, changed=changed: replace(whole, metadata=changed))
            try:
                model = ne.load_model(tmp_path / "model.gguf", device="cpu")
                model.encode("The capital of France")
                assert torch.isfinite(model.get_or_create_model()(torch.arange(3)[None])).all()
                outcomes.append("runs")
            except NeuronExplainerError:
                outcomes.append("refused")
    assert outcomes[0] == "runs"
    assert set(outcomes) == {"runs", "refused"}


def test_lists_within_lists_without_end(tmp_path: Path) -> None:
    key, list_type = b"general.deep", 9
    nested = b"".join(struct.pack("<IQ", list_type, 1) for _ in range(100_000))
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key + struct.pack("<I", list_type)
    (tmp_path / "model.gguf").write_bytes(header + nested)
    with pytest.raises(MalformedCheckpointError, match="nested too deeply"):
        GgufFile.open(tmp_path / "model.gguf")


@pytest.mark.parametrize("kind", [KINDS.Q4_0, KINDS.Q8_0, KINDS.F16])
@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_scales_that_are_not_finite_are_refused_without_a_warning(kind: Any, number: float, tmp_path: Path) -> None:
    path = write_llama(tmp_path / "model.gguf", small_llama(), kind=kind)
    tensor = GgufFile.open(path).tensors["blk.0.ffn_up.weight"]
    damaged = bytearray(path.read_bytes())
    damaged[tensor.offset : tensor.offset + 2] = np.float16(number).tobytes()  # the scale of its first block
    path.write_bytes(damaged)
    with pytest.raises(NonFiniteTensorError, match=r"ffn_up\.weight"):
        ne.load_model(path, device="cpu")
