"""Tied weights as `transformers` reads them, and the tokens at which generation stops."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file, save_model

import neuron_explainer as ne
from helpers.checkpoints import VOCAB_SIZE, logits_of, save_folder, small_gpt2, small_llama, some_tokens
from helpers.gguf_files import write_llama
from helpers.installed_transformers import IS_OLD
from neuron_explainer.errors import MalformedCheckpointError, MissingTensorError
from neuron_explainer.models.generation.generate import generate

MODELS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "gpt2": small_gpt2,
    "llama": lambda: small_llama(tie_word_embeddings=True),
}


def logits_of_folder(folder: Path) -> torch.Tensor:
    return ne.load_model(folder, device="cpu").get_or_create_model()(some_tokens())


def transformers_logits(folder: Path) -> torch.Tensor:
    return logits_of(transformers.AutoModelForCausalLM.from_pretrained(folder), some_tokens())


@pytest.mark.parametrize("name", MODELS)
def test_the_unembeddings_name_alone(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    folder = save_folder(model, tmp_path / "small")
    save_model(model, str(folder / "model.safetensors"))
    assert not any("wte" in key or "embed_tokens" in key for key in load_file(folder / "model.safetensors"))
    torch.testing.assert_close(logits_of_folder(folder), logits_of(model, some_tokens()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("differs", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_both_names(name: str, differs: bool, tmp_path: Path) -> None:
    if differs and IS_OLD:
        pytest.skip("transformers before 5 ties the weights whatever the file has")
    model = MODELS[name]()
    folder = save_folder(model, tmp_path / "small")
    tensors = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    if differs:
        tensors["lm_head.weight"] = torch.randn(tensors["lm_head.weight"].shape, generator=torch.manual_seed(3))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    torch.testing.assert_close(logits_of_folder(folder), transformers_logits(folder), atol=1e-4, rtol=1e-4)
    context = ne.load_model(folder, device="cpu")
    assert context.config.tied_unembedding is not differs
    assert context.config is context.get_or_create_model().config
    torch.testing.assert_close(context.get_weight("UNEMBEDDING"), tensors["lm_head.weight"].T)


def test_a_model_in_memory_that_was_untied() -> None:
    model = small_gpt2()
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    ours = ne.load_model(model).get_or_create_model()
    torch.testing.assert_close(ours(some_tokens()), logits_of(model, some_tokens()), atol=1e-4, rtol=1e-4)


def test_neither_name(tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    tensors = load_file(folder / "model.safetensors")
    save_file({key: tensor for key, tensor in tensors.items() if "wte" not in key}, folder / "model.safetensors")
    with pytest.raises(MissingTensorError, match=r"transformer\.wte\.weight"):
        ne.load_model(folder, device="cpu")


def set_entries(file: Path, **entries: Any) -> None:
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**before, **entries}))


@pytest.mark.parametrize(
    ("generation", "config", "ends"),
    [
        ({"eos_token_id": [5, 7]}, {"eos_token_id": 2}, (5, 7)),
        ({"eos_token_id": 5}, {"eos_token_id": [2, 3]}, (5,)),
        ({"eos_token_id": None}, {"eos_token_id": 2}, (2,)),
        ({}, {"eos_token_id": [2, 3]}, (2, 3)),
        (None, {"eos_token_id": 2}, (2,)),
        ({"eos_token_id": [5, 5, VOCAB_SIZE, -1]}, {}, (5,)),
        (None, {"eos_token_id": None}, ()),
    ],
)
def test_end_tokens_of_a_folder(generation: Any, config: dict[str, Any], ends: tuple[int, ...], tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    (folder / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        set_entries(folder / "generation_config.json", **generation)
    set_entries(folder / "config.json", **config)
    assert ne.load_model(folder, device="cpu").end_token_ids == ends


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("value", ["2", 2.0, True, [2, None], {"a": 2}, [[2]], float("nan")])
def test_end_tokens_that_cannot_be(value: Any, file: str, tmp_path: Path) -> None:
    folder = save_folder(small_gpt2(), tmp_path / "small")
    (folder / "generation_config.json").unlink(missing_ok=True)
    set_entries(folder / file, eos_token_id=value)
    with pytest.raises(MalformedCheckpointError, match=r"eos_token_id is .*; it must be a token id or a list"):
        ne.load_model(folder, device="cpu")


def test_generation_stops_at_any_of_them(tmp_path: Path) -> None:
    model = small_gpt2()
    folder = save_folder(model, tmp_path / "small")
    plain = ne.load_model(folder, device="cpu")
    free = ne.load_model(small_gpt2(), tokenizer=folder / "tokenizer.json")
    free.end_token_ids = ()
    ids = plain.encode("The capital")
    tokens = generate(free.get_or_create_model(), [ids], max_new_tokens=8)[0]
    stop = tokens[4]
    first = tokens.index(stop)
    set_entries(folder / "generation_config.json", eos_token_id=[VOCAB_SIZE - 2, stop])
    expected = plain.tokenizer.decode(tokens[:first])
    assert ne.load_model(folder, device="cpu").generate("The capital", max_new_tokens=8) == expected
    model.generation_config.eos_token_id = [VOCAB_SIZE - 2, stop]
    in_memory = ne.load_model(model, tokenizer=folder / "tokenizer.json")
    assert in_memory.end_token_ids == (VOCAB_SIZE - 2, stop)
    assert in_memory.generate("The capital", max_new_tokens=8) == expected
    theirs = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False, pad_token_id=0)[0, len(ids) :]
    assert theirs.tolist() == tokens[: first + 1]


def test_gguf_files_name_the_end_of_a_turn_too(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "model.gguf", small_llama(), extra={"tokenizer.ggml.eot_token_id": 7})
    assert ne.load_model(path, device="cpu").end_token_ids == (VOCAB_SIZE - 1, 7)
