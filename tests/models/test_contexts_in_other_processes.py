"""Contexts, configs and errors go to other processes: what was loaded by name or path is loaded there again."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.checkpoints import byte_level_tokenizer, save_folder, small_gpt2, small_llama
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.model_registry import MODEL_REGISTRY

TEXT = "And the LORD"
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=COPIES)
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return COPIES[request.param]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def logits(model: StandardModelContext) -> torch.Tensor:
    found = model.get_or_create_model()(torch.tensor([[5, 17, 3]]))
    assert found is not None
    return found


def test_a_named_model_is_loaded_again_when_it_is_needed(copied: Callable[[Any], Any]) -> None:
    model = ne.load_model("tiny", device="cpu", dtype="float64")
    again = copied(model)
    assert again._transformer is None
    assert (repr(again), again.end_token_ids) == (repr(model), model.end_token_ids)
    assert again.get_or_create_model().dtype == torch.float64
    assert torch.equal(logits(again), logits(model))
    again.free()
    assert torch.equal(logits(again), logits(model))


def test_the_weights_of_a_named_model_do_not_travel() -> None:
    assert len(pickle.dumps(ne.load_model("tiny", device="cpu"))) < 1000


def test_weights_that_were_changed_travel(copied: Callable[[Any], Any]) -> None:
    model = ne.load_model("tiny", device="cpu")
    model.get_or_create_model().blocks[1].mlp.output_weight.mul_(0.5)
    assert not torch.equal(logits(model), logits(ne.load_model("tiny", device="cpu")))
    assert torch.equal(logits(copied(model)), logits(model))


def test_what_a_user_set_is_kept(copied: Callable[[Any], Any]) -> None:
    model = ne.load_model("tiny", device="cpu", name="mine")
    model.end_token_ids = (3, 4)
    again = copied(model)
    assert (again.model_name, again.end_token_ids) == ("mine", (3, 4))


def test_a_relative_path_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(small_llama(), tmp_path / "here" / "llama")
    monkeypatch.chdir(tmp_path / "here")
    tokenizer = byte_level_tokenizer()
    model = ne.load_model("llama", device="cpu", tokenizer=tokenizer)
    packed = pickle.dumps(model)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(packed)
    assert torch.equal(logits(again), logits(model))
    assert again.encode(TEXT) == model.encode(TEXT)


def test_a_name_that_only_this_process_knows_travels_as_its_path(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    save_folder(small_llama(), tmp_path / "llama")
    request.addfinalizer(lambda: MODEL_REGISTRY.pop("mine", None))
    ne.register_model(ne.RegisteredModel(name="mine", description="a llama", path=tmp_path / "llama"))
    model = ne.load_model("mine", device="cpu")
    packed = pickle.dumps(model)
    ne.register_model(
        ne.RegisteredModel(name="mine", description="another model", path=tmp_path / "nowhere"), replace=True
    )
    again = pickle.loads(packed)
    assert again.model_name == "mine"
    assert torch.equal(logits(again), logits(model))


def test_a_model_in_memory_travels_with_its_weights(copied: Callable[[Any], Any]) -> None:
    model = ne.load_model(small_gpt2(), tokenizer=byte_level_tokenizer())
    again = copied(model)
    assert torch.equal(logits(again), logits(model))
    assert again.encode(TEXT) == model.encode(TEXT)
    model.free()
    with pytest.raises(ne.errors.InvalidRequestError, match="was freed"):
        copied(model)


def test_no_secret_is_shown_or_kept(tmp_path: Path) -> None:
    save_folder(small_llama(), tmp_path / "llama")
    model = ne.load_model(tmp_path / "llama", device="cpu", token="hf_secret")
    assert b"hf_secret" not in pickle.dumps(model)


def test_a_config_that_names_its_model_travels_by_name(copied: Callable[[Any], Any]) -> None:
    config = ne.DstConfig(model_name="tiny", layer_indices=[1], derive_gradients=True)
    loaded = config.get_model_context()
    again = copied(config)
    assert again == config
    assert again.get_model_context() is not loaded
    assert len(pickle.dumps(config)) < 2000


def test_a_pool_derives_with_what_it_was_sent(pool: ProcessPoolExecutor) -> None:
    model = ne.load_model("tiny", device="cpu")
    config = ne.DstConfig(model_context=model, layer_indices=[1])
    found = pool.submit(ne.derive, TEXT, ["mlp_post_act"], config).result()
    expected = ne.derive(TEXT, ["mlp_post_act"], config)
    assert torch.equal(found.activations("mlp_post_act")[1], expected.activations("mlp_post_act")[1])


def test_an_error_in_a_pool_arrives_whole_and_leaves_the_pool_working(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(ne.errors.CheckpointNotFoundError, match="/nowhere/at/all does not exist") as raised:
        pool.submit(ne.load_model, "/nowhere/at/all").result()
    assert raised.value.file == "/nowhere/at/all"
    assert pool.submit(len, TEXT).result() == len(TEXT)
