"""Checkpoints as people find them: tied under another name, half downloaded, quantised, contradictory."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from transformers import AutoModelForCausalLM

import neuron_explainer as ne
from helpers.checkpoints import byte_level_tokenizer, logits_of, save_folder, small_gpt2, small_llama, some_tokens
from helpers.tiny_models import hf_model
from neuron_explainer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MisconfiguredError,
    NeuronExplainerError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.checkpoints.checkpoint_format import LoadOptions
from neuron_explainer.models.checkpoints.formats import open_checkpoint
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.transformer_config import RotaryConfig
from neuron_explainer.notices import CheckpointWarning

TOKENS = some_tokens()


def logits(folder: Path) -> torch.Tensor:
    return ne.load_model(folder, device="cpu").get_or_create_model()(TOKENS)


def their_logits(folder: Path) -> torch.Tensor:
    return logits_of(AutoModelForCausalLM.from_pretrained(folder), TOKENS)


@pytest.mark.parametrize("model", [small_gpt2, lambda: small_llama(tie_word_embeddings=True)])
def test_tied_weights_under_the_unembedding_s_name_alone(model: Any, tmp_path: Path) -> None:
    theirs = model()
    folder = save_folder(theirs, tmp_path)
    save_model(theirs, str(folder / "model.safetensors"), metadata={"format": "pt"})
    assert "lm_head.weight" in load_file(folder / "model.safetensors")
    torch.testing.assert_close(logits(folder), logits_of(theirs, TOKENS), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", [small_gpt2, lambda: small_llama(tie_word_embeddings=True)])
def test_a_stored_unembedding_counts_although_the_config_says_tied(model: Any, tmp_path: Path) -> None:
    folder = save_folder(model(), tmp_path)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    embedding = next(name for name in tensors if name.endswith(("wte.weight", "embed_tokens.weight")))
    save_file({**tensors, "lm_head.weight": tensors[embedding].clone()}, path, metadata={"format": "pt"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the same tensor twice contradicts nothing
        same = logits(folder)
    torch.testing.assert_close(same, their_logits(folder), atol=1e-4, rtol=1e-4)
    other = torch.randn(tensors[embedding].shape, generator=torch.Generator().manual_seed(1))
    save_file({**tensors, "lm_head.weight": other}, path, metadata={"format": "pt"})
    with pytest.warns(CheckpointWarning, match="lm_head.weight is another tensor"):
        untied = logits(folder)
    torch.testing.assert_close(untied, their_logits(folder), atol=1e-4, rtol=1e-4)
    assert float((untied - same).abs().max()) > 1


def test_a_whole_file_counts_where_an_index_names_shards_that_are_gone(tmp_path: Path) -> None:
    folder = save_folder(small_llama(), tmp_path / "whole")
    sharded = save_folder(small_llama(seed=1), tmp_path / "sharded", shard_size="40KB")
    index = sharded / "model.safetensors.index.json"
    shutil.copy(index, folder)
    torch.testing.assert_close(logits(folder), their_logits(folder), atol=1e-4, rtol=1e-4)
    for shard in sharded.glob("model-*.safetensors"):
        shutil.copy(shard, folder)
    torch.testing.assert_close(logits(folder), their_logits(folder), atol=1e-4, rtol=1e-4)
    (folder / "model.safetensors").unlink()
    torch.testing.assert_close(logits(folder), logits(sharded), rtol=0, atol=0)
    next(folder.glob("model-*.safetensors")).unlink()
    with pytest.raises(CheckpointNotFoundError, match="its index places"):
        ne.load_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("of_config", "of_generation", "expected"),
    [
        (2, None, (2,)),
        (None, [5, 7], (5, 7)),
        (7, [5, 7], (7, 5)),
        (2, 9, (9,)),
        ([3, 4], {}, (3, 4)),
    ],
)
def test_generation_stops_at_any_token_of_generation_config(
    of_config: Any, of_generation: Any, expected: tuple[int, ...], tmp_path: Path
) -> None:
    folder = save_folder(small_llama(), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": of_config}))
    generation = folder / "generation_config.json"
    generation.write_text(json.dumps({} if of_generation == {} else {"eos_token_id": of_generation}))
    assert ne.load_model(folder, device="cpu").end_token_ids == expected
    generation.unlink()
    assert ne.load_model(folder, device="cpu").end_token_ids == (
        () if of_config is None else (of_config,) if isinstance(of_config, int) else tuple(of_config)
    )


def test_generation_ends_where_the_list_says(tmp_path: Path) -> None:
    folder = save_folder(small_llama(), tmp_path)
    model = ne.load_model(folder, device="cpu")
    prompt = model.encode("The capital")
    (ids,) = generate(model.get_or_create_model(), [prompt], max_new_tokens=8)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, ids[2]]}))
    stopping = ne.load_model(folder, device="cpu")
    assert stopping.generate("The capital", max_new_tokens=8) == model.decode(ids[: ids.index(ids[2])])


def test_a_model_in_memory_stops_where_its_generation_config_says() -> None:
    theirs = small_llama()
    theirs.generation_config.eos_token_id = [11, 12]
    assert ne.load_model(theirs, tokenizer=None).end_token_ids == (11, 12)


@pytest.mark.parametrize("value", ["2", -1, 2.5, [2, None], {"a": 1}, True])
def test_end_tokens_that_cannot_be_are_refused(value: Any, tmp_path: Path) -> None:
    folder = save_folder(small_llama(), tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(MalformedCheckpointError, match="eos_token_id"):
        ne.load_model(folder, device="cpu")


QUANTISED = {
    "gptq": (["model.layers.0.mlp.up_proj.qweight"], "GPTQ or AWQ"),
    "bitsandbytes": (["model.layers.0.mlp.up_proj.weight.absmax"], "bitsandbytes"),
    "fp8": (["model.layers.0.mlp.up_proj.weight_scale_inv"], "fp8"),
    "compressed": (["model.layers.0.mlp.up_proj.weight_packed"], "compressed-tensors"),
}


@pytest.mark.parametrize("method", QUANTISED)
def test_quantised_checkpoints_are_named_as_such(method: str, tmp_path: Path) -> None:
    folder = save_folder(small_llama(), tmp_path)
    config_file, path = folder / "config.json", folder / "model.safetensors"
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**config, "quantization_config": {"quant_method": method}}))
    with pytest.raises(UnsupportedCheckpointError, match=f"quantised \\('{method}'\\).*dequantised with transformers"):
        ne.load_model(folder, device="cpu")
    config_file.write_text(json.dumps(config))  # by the tensors' names alone
    names, said = QUANTISED[method]
    save_file({**load_file(path), **{name: torch.zeros(3) for name in names}}, path)
    with pytest.raises(UnsupportedCheckpointError, match=f"quantised \\({said}.*dequantised with transformers"):
        ne.load_model(folder, device="cpu")


def test_rope_parameters_by_layer_type_are_refused_where_a_family_has_one_rope() -> None:
    config = small_llama().config.to_dict()
    config["rope_parameters"] = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    with pytest.raises(UnsupportedCheckpointError, match="full_attention, sliding_attention"):
        Transformer.from_hf_config_and_tensors(config, {})


@pytest.mark.parametrize("share", [0.0, 0.2, 0.05])
def test_an_odd_number_of_rotated_channels_is_refused_when_loading(share: float, tmp_path: Path) -> None:
    config = {**hf_model("gpt_neox").config.to_dict()}  # heads of 16 channels
    config["rope_parameters"] = {**config["rope_parameters"], "partial_rotary_factor": share}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"even number|above 0"):
        ne.load_model(tmp_path, device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_rotary_constants_must_be_finite_and_above_0(value: float) -> None:
    for name in ("base", "factor", "low_frequency_factor", "high_frequency_factor"):
        with pytest.raises(MisconfiguredError, match=name):
            RotaryConfig(n_channels=4, **{name: value})  # type: ignore[arg-type]


NASTY = [
    "768",
    3.5,
    float("nan"),
    float("inf"),
    -1,
    0,
    10**6,
    10**30,
    10**400,
    True,
    [],
    [1],
    {},
    {"a": {}},
    "é" * 9999,
]


@pytest.mark.filterwarnings("ignore::neuron_explainer.notices.CheckpointWarning")
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "llama_3", "mistral", "qwen2", "qwen3", "gemma2"])
def test_every_entry_with_nasty_values_is_right_or_refused(name: str, tmp_path: Path) -> None:
    config = hf_model(name).config.to_dict()
    rope = config.get("rope_parameters") or {}
    changes = [{**config, key: value} for key in config for value in NASTY]
    changes += [{**config, "rope_parameters": {**rope, key: value}} for key in rope for value in NASTY]
    hf_model(name).save_pretrained(tmp_path)
    byte_level_tokenizer().save(str(tmp_path / "tokenizer.json"))
    file = tmp_path / "config.json"
    messages = []
    plain = open_checkpoint(tmp_path, LoadOptions(None, None, None)).config
    for changed in changes:
        file.write_text(json.dumps(changed))
        try:
            checkpoint = open_checkpoint(tmp_path, LoadOptions(None, None, None))
            if checkpoint.config != plain:  # else the entry is of no account
                transformer = checkpoint.create_transformer(dtype=torch.float32, device=torch.device("cpu"))
                assert transformer(torch.tensor([[1, 2, 3]])).shape[:2] == (1, 3)
        except NeuronExplainerError as error:
            messages.append(str(error))
    assert len(messages) > 60
    assert [message for message in messages if len(message) > 1000] == []
    for content in (b"", b"[" * 10**5, b'{"a":' * 10**5, b'{"model_type": []}', b"null", b"\xff", b"1" * 10**4):
        file.write_bytes(content)
        with pytest.raises(CheckpointError):
            ne.load_model(tmp_path, device="cpu")
