"""Models in memory: shared weights and no network; and what `load_model` takes a word for."""

import math
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers

import neuron_explainer as ne
from helpers.checkpoints import byte_level_tokenizer, logits_of, save_folder, small_gpt2, small_llama, some_tokens
from helpers.tiny_models import HF_CONFIGS, hf_model, random_tokens
from neuron_explainer.errors import (
    CheckpointNotFoundError,
    InvalidRequestError,
    NonFiniteTensorError,
    TensorShapeError,
    TokenizerError,
    UnexpectedTensorError,
    UnknownNameError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.model_registry import (
    MODEL_REGISTRY,
    RegisteredModel,
    get_registered_model,
    register_model,
)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", HF_CONFIGS)
def test_weights_are_shared(name: str) -> None:
    theirs = hf_model(name)
    context = ne.load_model(theirs)
    model = context.get_or_create_model()
    # Every one of our parameters lies within the memory of one of theirs.
    of_text = [weight for key, weight in theirs.state_dict().items() if not re.search("vision|multi_modal", key)]
    memory = {weight.untyped_storage().data_ptr() for weight in of_text}
    assert {parameter.untyped_storage().data_ptr() for parameter in model.parameters()} == memory
    tokens = random_tokens(2, 9)
    torch.testing.assert_close(model(tokens), logits_of(theirs, tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("no_network")
def test_what_is_done_to_the_one_is_done_to_the_other() -> None:
    theirs = small_gpt2()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_tokenizer())
    context = ne.load_model(theirs, tokenizer=tokenizer)
    assert context.model_name == "GPT2LMHeadModel"
    assert context.encode(" Mary") == tokenizer(" Mary").input_ids
    with torch.no_grad():
        theirs.transformer.wte.weight[7] += 1.0
    tokens = torch.tensor([[7, 8]])
    torch.testing.assert_close(context.get_or_create_model()(tokens), logits_of(theirs, tokens), atol=1e-4, rtol=1e-4)
    assert theirs.transformer.wte.weight.requires_grad  # theirs can still be trained


def test_only_what_is_asked_to_change_is_copied() -> None:
    theirs = small_llama()
    same = ne.load_model(theirs, dtype="float32", device="cpu").get_or_create_model()
    assert same.embedding.data_ptr() == theirs.model.embed_tokens.weight.data_ptr()
    halved = ne.load_model(theirs, dtype=torch.bfloat16).get_or_create_model()
    assert halved.dtype == torch.bfloat16
    assert theirs.dtype == torch.float32


def test_without_a_tokenizer_there_are_only_ids() -> None:
    context = ne.load_model(small_gpt2())
    assert not context.has_tokenizer
    with pytest.raises(TokenizerError, match=r"GPT2LMHeadModel was loaded without a tokenizer.*tokenizer="):
        context.encode("text")


def test_models_in_memory_that_cannot_be_used() -> None:
    with pytest.raises(UnsupportedCheckpointError, match=r"^Linear has no transformers config"):
        ne.load_model(torch.nn.Linear(2, 2))
    bloom = transformers.BloomForCausalLM(transformers.BloomConfig(vocab_size=16, hidden_size=8, n_layer=1, n_head=2))
    with pytest.raises(UnsupportedCheckpointError, match=r"BloomForCausalLM in memory.*'bloom'"):
        ne.load_model(bloom)
    broken = small_gpt2(seed=1)
    with torch.no_grad():
        broken.get_parameter("transformer.h.1.attn.c_attn.bias")[4] = math.nan
    with pytest.raises(NonFiniteTensorError, match=r"in memory: tensor '.*h\.1\.attn\.c_attn\.bias' is nan at \[4\]"):
        ne.load_model(broken)
    with torch.device("meta"):
        empty = small_gpt2(seed=2)
    with pytest.raises(UnsupportedCheckpointError, match=r"no data \(meta device\)"):
        ne.load_model(empty)
    mixed = small_gpt2(seed=3)
    mixed.transformer.h[0].half()
    with pytest.raises(UnsupportedCheckpointError, match=r"several dtypes \(torch\.float16, torch\.float32\).*dtype="):
        ne.load_model(mixed)
    assert ne.load_model(mixed, dtype="float32").n_layers == 2
    classifier = transformers.GPT2ForSequenceClassification(small_gpt2().config)
    with pytest.raises(UnexpectedTensorError, match=r"GPT2ForSequenceClassification in memory.*score\.weight"):
        ne.load_model(classifier)
    with pytest.raises(TensorShapeError, match="GPT2LMHeadModel in memory"):
        ne.load_model(small_gpt2(), config=small_gpt2().config.to_dict() | {"n_positions": 31})
    with pytest.raises(InvalidRequestError, match="no revision"):
        ne.load_model(small_gpt2(), revision="main")
    with pytest.raises(UnsupportedCheckpointError, match=r"config is 'gpt2'\. Give a dict"):
        ne.load_model(small_gpt2(), config="gpt2")
    with pytest.raises(InvalidRequestError, match="An object of type list is not a model"):
        ne.load_model([small_gpt2()])


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("word", ["gpt-2", "smollm2", "bert-base", "", "Tinny"])
def test_a_word_is_a_registered_name_or_nothing(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError) as unknown:
        ne.load_model(word)
    assert set(unknown.value.choices) == set(MODEL_REGISTRY)


def test_gpt2_is_gpt2_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        MODEL_REGISTRY,
        "gpt2-small",
        RegisteredModel(name="gpt2-small", description="", path=save_folder(small_gpt2(), tmp_path / "weights")),
    )
    assert ne.load_model("gpt2").model_name == "gpt2-small"
    monkeypatch.setitem(MODEL_REGISTRY, "gpt2", RegisteredModel(name="gpt2", description="", path=tmp_path / "weights"))
    assert ne.load_model("gpt2").model_name == "gpt2"  # a name of one's own comes first


@pytest.mark.usefixtures("no_network")
def test_paths_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", str(tmp_path / "nowhere"), "./nowhere/model", "nowhere.gguf", "~/no/where"):
        with pytest.raises(CheckpointNotFoundError, match="does not exist"):
            ne.load_model(path)


@pytest.mark.usefixtures("no_network")
def test_what_is_on_this_machine_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(small_gpt2(), tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InvalidRequestError,
        match="owner/name is a Hugging Face folder, which has no revisions",
    ):
        ne.load_model("owner/name", device="cpu", revision="main")
    assert ne.load_model("owner/name", device="cpu").model_name == "name"
    monkeypatch.chdir(tmp_path / "owner")
    assert ne.load_model("name", device="cpu", name="mine").model_name == "mine"


@pytest.fixture
def registry_restored() -> Iterator[None]:
    before = dict(MODEL_REGISTRY)
    yield
    MODEL_REGISTRY.clear()
    MODEL_REGISTRY.update(before)


@pytest.mark.usefixtures("no_network", "registry_restored")
def test_a_model_can_be_registered(tmp_path: Path) -> None:
    mine = RegisteredModel(name="mine", description="a small one", path=save_folder(small_gpt2(), tmp_path / "x"))
    register_model(mine)
    context = ne.load_model("mine", device="cpu")
    assert context.model_name == "mine"
    tokens = some_tokens()
    torch.testing.assert_close(
        context.get_or_create_model()(tokens), logits_of(small_gpt2(), tokens), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(InvalidRequestError, match=r"name 'mine' is taken \(a small one\)"):
        register_model(mine)
    register_model(mine, replace=True)
    with pytest.raises(InvalidRequestError, match="looks like a hub id"):
        register_model(RegisteredModel(name="a/b", description="", hub_id="a/b"))
    with pytest.raises(InvalidRequestError, match="Say where"):
        register_model(RegisteredModel(name="c", description=""))
    register_model(RegisteredModel(name="gone", description="", path=tmp_path / "gone"))
    with pytest.raises(InvalidRequestError, match="'gone' is not on this machine"):
        ne.load_model("gone")
    register_model(RegisteredModel(name="absent", description="", package="no_such_package", hub_id="owner/absent"))
    assert get_registered_model("absent").source() == "owner/absent"


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_a_model_made_in_inference_mode_has_gradients(dtype: str | None) -> None:
    with torch.inference_mode():
        theirs = transformers.AutoModelForCausalLM.from_config(HF_CONFIGS["llama"])
        model = ne.load_model(theirs, dtype=dtype).get_or_create_model()
    with model.record("mlp_post_act", gradients=True) as recording:
        recording.backward(model(random_tokens(1, 4))[0, -1, 3])
    assert bool(recording.gradient("mlp_post_act", 0).any())
