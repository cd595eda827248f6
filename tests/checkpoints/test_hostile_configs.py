"""Configs from outside: every entry of every family with nasty values is read, or refused by a typed error, at once."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import neuron_explainer as ne
from helpers.checkpoints import save_folder, save_tdb_pieces, small_gpt2, small_llama
from helpers.tiny_models import ONE_OF_EACH_FAMILY, hf_model
from neuron_explainer.errors import (
    CheckpointError,
    MalformedCheckpointError,
    MissingTensorError,
    NeuronExplainerError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.checkpoints import file_source
from neuron_explainer.models.families.config_entries import USUAL_ENTRIES
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.transformer import Transformer

NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 7, 10**6, 2**31, 2**62, 10**30, 0.0, -1.0, 0.3, 4.0, math.nan, math.inf, -math.inf,
    "", "4", "x" * 1000, [], [1], {}, {"a": 1}, {"full_attention": {"rope_theta": 1e4}}, [[["a"]]],
)  # fmt: skip
ROPE = ("rope_theta", "rope_type", "factor", "low_freq_factor", "high_freq_factor", "partial_rotary_factor")


def outcome(hf_config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    try:
        model = Transformer.from_hf_config_and_tensors(hf_config, tensors)
        assert torch.isfinite(model(torch.arange(3)[None])).all()
        return "runs"
    except NeuronExplainerError:
        return "refused"


@pytest.mark.filterwarnings("ignore::neuron_explainer.notices.UnknownConfigEntryWarning")
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_every_entry_with_every_nasty_value(name: str) -> None:
    theirs = hf_model(name)
    entries, tensors = theirs.config.to_dict(), theirs.state_dict()
    assert outcome(entries, tensors) == "runs"
    read = [key for key in entries if key in USUAL_ENTRIES or key in ("model_type", "pretraining_tp")]
    mutated = [{**entries, key: value} for key in read for value in NASTY]
    rope = entries.get("rope_parameters") or {}
    mutated += [{**entries, "rope_parameters": {**rope, key: value}} for key in ROPE for value in NASTY if rope]
    begun = time.monotonic()
    outcomes = [outcome(each, tensors) for each in mutated]
    assert time.monotonic() - begun < 120  # a config that asks for 10^6 layers alone would take longer
    assert set(outcomes) == {"runs", "refused"}


@pytest.mark.parametrize("entry", ["num_hidden_layers", "hidden_size", "head_dim", "vocab_size", "intermediate_size"])
@pytest.mark.parametrize("value", [4096, 2**20, 10**30, "64", 64.5, [64], True, -1])
def test_sizes_are_held_against_the_tensors(entry: str, value: Any) -> None:
    theirs = small_llama()
    with pytest.raises(CheckpointError):
        Transformer.from_hf_config_and_tensors({**theirs.config.to_dict(), entry: value}, theirs.state_dict())


def test_a_layer_too_many_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = small_llama()
    made: list[object] = []
    monkeypatch.setattr(Transformer, "__init__", lambda self, config: made.append(config))
    with pytest.raises(MissingTensorError, match=r"model\.layers\.2\."):
        Transformer.from_hf_config_and_tensors(
            {**theirs.config.to_dict(), "num_hidden_layers": 4000}, theirs.state_dict()
        )
    assert not made  # nothing is built for a config that the tensors contradict


@pytest.mark.parametrize("model_type", [None, 3, [], {"a": 1}, "x" * 10_000, float("nan")])
def test_a_model_type_that_is_not_one(model_type: Any) -> None:
    with pytest.raises(UnsupportedCheckpointError, match=r"is not supported\. Choose one of:") as caught:
        family_and_config({"model_type": model_type})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", '"x"', "{", "[" * 100_000, '{"a":' * 100_000, '{"n": ' + "9" * 10_000 + "}", "\0"],
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "model.safetensors.index.json"])
def test_files_that_are_not_json_objects(file: str, content: str, tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    if "index" in file:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / file).write_text(content)
    with pytest.raises(MalformedCheckpointError, match=file):
        ne.load_model(folder, device="cpu")


def test_a_file_that_is_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_source, "MOST_JSON_BYTES", 1000)
    (tmp_path / "config.json").write_text(" " * 1001)
    with pytest.raises(MalformedCheckpointError, match="exceeds the limit of 1,000 bytes"):
        ne.load_model(tmp_path, device="cpu")


@pytest.mark.parametrize("name", [None, 3, [], {}, "", "..", "../x.safetensors", "a\0.safetensors", "/etc/passwd"])
def test_an_index_that_names_what_is_not_a_file(name: Any, tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"transformer.wte.weight": name}}))
    with pytest.raises(CheckpointError, match=r"index\.json"):
        ne.load_model(folder, device="cpu")


def test_transformer_debuggers_config_with_nasty_values(tmp_path: Path) -> None:
    folder = save_tdb_pieces(small_gpt2(), tmp_path / "pieces")
    entries = json.loads((folder / "config.json").read_text())
    tokenizer = save_folder(small_gpt2(), tmp_path / "hf") / "tokenizer.json"
    for key in entries:
        for value in NASTY:
            (folder / "config.json").write_text(json.dumps({**entries, key: value}))
            try:
                ne.load_model(folder, device="cpu", tokenizer=tokenizer)
            except NeuronExplainerError:
                continue
            # Another number of heads is another model with the same weights.
            assert key in ("enc", "n_heads") or value == entries[key]


def test_rotary_settings_that_cannot_be() -> None:
    llama = small_llama().config.to_dict()
    neox = hf_model("gpt_neox").config.to_dict()
    nested = {"full_attention": {"rope_type": "default", "rope_theta": 1e4}, "sliding_attention": {"rope_theta": 1e6}}
    with pytest.raises(UnsupportedCheckpointError, match="rope_parameters has settings for each type of layer"):
        family_and_config({**llama, "rope_parameters": nested})
    for base in (math.nan, math.inf, -1e4, 0, 0.0, "1e4", True):
        for entries in ({"rope_parameters": {"rope_type": "default", "rope_theta": base}}, {"rope_theta": base}):
            with pytest.raises(MalformedCheckpointError, match="rope_theta is"):
                family_and_config({**llama, "rope_parameters": None, **entries})
    d_head = neox["hidden_size"] // neox["num_attention_heads"]
    with pytest.raises(MalformedCheckpointError, match="3 channels of a head are rotated"):
        family_and_config({**neox, "rope_parameters": None, "rotary_pct": 3 / d_head + 1e-9})
    equal = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}
    with pytest.raises(MalformedCheckpointError, match="low_frequency_factor is 4"):
        family_and_config({**llama, "rope_parameters": {**equal, "original_max_position_embeddings": 64}})


@pytest.mark.parametrize("epsilon", [math.nan, math.inf, -1e-5, 0, "1e-5", True, None])
def test_epsilons_that_cannot_be(epsilon: Any) -> None:
    with pytest.raises(MalformedCheckpointError, match="rms_norm_eps is"):
        family_and_config({**small_llama().config.to_dict(), "rms_norm_eps": epsilon})


def test_a_type_of_layer_that_is_not_supported() -> None:
    with pytest.raises(UnsupportedCheckpointError, match="layer_types has 'linear_attention'"):
        family_and_config({**hf_model("qwen3").config.to_dict(), "layer_types": ["full_attention", "linear_attention"]})


def test_a_whole_file_comes_before_an_index(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    gone = {"weight_map": {"transformer.wte.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(gone))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(gone))
    assert ne.load_model(folder, device="cpu").n_layers == 2
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model-00001-of-00002\.safetensors"):
        ne.load_model(folder, device="cpu")
    save_file(tensors, folder / "model-00001-of-00002.safetensors")
    assert ne.load_model(folder, device="cpu").n_layers == 2
