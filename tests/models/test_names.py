"""The names of models: TransformerLens' and Neuronpedia's, hub ids without owner, revisions, and what is cached."""

import importlib.util
import runpy
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import yaml

import neuron_explainer as ne
from helpers.checkpoints import save_folder, small_gpt2
from neuron_explainer.errors import CheckpointNotFoundError, InvalidRequestError, UnknownNameError
from neuron_explainer.models.autoencoders.origin import same_base_model
from neuron_explainer.models.families.registry import FAMILY_BY_MODEL_TYPE
from neuron_explainer.models.hub import connection
from neuron_explainer.models.hub.names import HUB_MODELS
from neuron_explainer.models.model_registry import (
    MODEL_REGISTRY,
    OTHER_NAMES,
    RegisteredModel,
    find_registered_model,
    get_registered_model,
    split_revision,
)

NAMES_OF_FAMILIES_WITH_EXPERTS = {"mixtral", "qwen3_moe", "olmoe", "gpt_oss"}


@pytest.mark.parametrize(
    ("name", "hub_id"),
    {
        "gpt2": "openai-community/gpt2",
        "GPT2-XL": "openai-community/gpt2-xl",
        "distilgpt2": "distilbert/distilgpt2",
        "pythia-70m": "EleutherAI/pythia-70m",
        "pythia-1.4b-deduped-v0": "EleutherAI/pythia-1.4b-deduped-v0",
        "pythia-800m": "EleutherAI/pythia-1b",
        "gpt-neo-125M": "EleutherAI/gpt-neo-125m",
        "gpt-j-6B": "EleutherAI/gpt-j-6b",
        "opt-125m": "facebook/opt-125m",
        "tiny-stories-33M": "roneneldan/TinyStories-33M",
        "TinyStories-Instruct-8M": "roneneldan/TinyStories-Instruct-8M",
        "tiny-stories-1L-21M": "roneneldan/TinyStories-1Layer-21M",
        "tiny-stories-instruct-1L-21M": "roneneldan/TinyStories-Instuct-1Layer-21M",
        "gemma-2-2b-it": "google/gemma-2-2b-it",
        "gemma-3-4b": "google/gemma-3-4b-pt",
        "gemma-3-270m": "google/gemma-3-270m",
        "llama3.1-8b": "meta-llama/Llama-3.1-8B",
        "Llama-3.1-8B": "meta-llama/Llama-3.1-8B",
        "llama3.1-8b-it": "meta-llama/Llama-3.1-8B-Instruct",
        "Llama-2-7b-chat": "meta-llama/Llama-2-7b-chat-hf",
        "qwen2.5-7b-it": "Qwen/Qwen2.5-7B-Instruct",
        "qwen3-0.6b": "Qwen/Qwen3-0.6B",
        "phi-1.5": "microsoft/phi-1_5",
        "phi-3": "microsoft/Phi-3-mini-4k-instruct",
        "mistral-7b": "mistralai/Mistral-7B-v0.1",
        "mixtral": "mistralai/Mixtral-8x7B-v0.1",
        "olmo-2-1b": "allenai/OLMo-2-0425-1B",
        "smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct",
    }.items(),
)
def test_a_name(name: str, hub_id: str) -> None:
    assert get_registered_model(name).hub_id == hub_id


def test_no_name_stands_for_two_models_and_every_model_is_of_a_family() -> None:
    names = Counter(name.lower() for model in HUB_MODELS for name in (model.name, *model.other_names))
    assert [name for name, count in names.items() if count > 1] == []
    assert not {name.lower() for name in MODEL_REGISTRY} & OTHER_NAMES.keys()
    assert {model.family for model in HUB_MODELS} - FAMILY_BY_MODEL_TYPE.keys() <= NAMES_OF_FAMILIES_WITH_EXPERTS
    assert len({model.hub_id for model in HUB_MODELS}) == len(HUB_MODELS)
    for model in HUB_MODELS:
        assert model.hub_id.count("/") == 1
        assert not set(model.hub_id + model.name) & set("{}:, @")
        last_part = model.hub_id.partition("/")[2]
        if last_part != "SmolLM2-135M":
            assert get_registered_model(last_part).hub_id == model.hub_id  # the hub id without its owner


def test_every_name_of_transformer_lens_for_these_models() -> None:
    """Its table is read without importing the package."""
    spec = importlib.util.find_spec("transformer_lens")
    if spec is None or spec.origin is None:
        pytest.skip("transformer_lens is not installed")
    table = runpy.run_path(str(Path(spec.origin).parent / "supported_models.py"))
    known = {model.hub_id.rpartition("/")[2].lower() for model in HUB_MODELS}
    found = []
    for hub_id, names in table["MODEL_ALIASES"].items():
        last_part = hub_id.rpartition("/")[2]
        if last_part.lower() not in known:
            continue
        found.append(hub_id)
        model = get_registered_model(names[0].rpartition("/")[2]) if "CodeLlama-7b-hf" not in hub_id else None
        for name in names:
            other = find_registered_model(name.rpartition("/")[2])
            assert other in (None, model), name
            assert other is None or (other.hub_id or "").lower().endswith(last_part.lower()), name
    assert len(found) > 150
    skipped = [name for name in table["OFFICIAL_MODEL_NAMES"] if name.rpartition("/")[2].lower() not in known]
    of_other_families = "OLMo-1B OLMo-7B attn Attn GELU SoLU bloom bert t5 hubert wav2vec Othello santacoder Apertus"
    without_files = "llama-7b llama-13b llama-30b llama-65b Qwen/Qwen- gemma-2b gemma-7b"
    for name in skipped:
        assert any(part in name for part in f"{of_other_families} {without_files}".split()), name


def test_every_name_of_neuronpedia_that_sae_lens_knows() -> None:
    spec = importlib.util.find_spec("sae_lens")
    if spec is None or spec.origin is None:
        pytest.skip("sae_lens is not installed")
    text = (Path(spec.origin).parent / "pretrained_saes.yaml").read_text()
    releases = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    n_compared = 0
    for release in releases.values():
        model = release["model"]
        ids = {sae["neuronpedia"].partition("/")[0] for sae in release["saes"] if sae.get("neuronpedia")}
        for name in ids - {"gemma-2b", "gemma-2b-it"}:  # Gemma 1 is not a family here
            assert same_base_model(name, model), (name, model)
            assert get_registered_model(name).hub_id == get_registered_model(model.rpartition("/")[2]).hub_id
            n_compared += 1
    assert n_compared > 50


def test_the_table_of_names() -> None:
    table = ne.known_models()
    assert list(table.columns) == ["name", "other_names", "family", "where"]
    by_name = table.set_index("name")
    assert len(table) == len(MODEL_REGISTRY)
    assert list(by_name.loc["gpt2-small"]) == ["gpt2", "gpt2", "openai-community/gpt2"]
    assert by_name.loc["tiny", "where"] == "this library"
    assert list(ne.known_models("GEMMA 27b it")["name"]) == [
        "gemma-2-27b-it",
        "medgemma-27b-text-it",
        "gemma-3-27b-it",
        "medgemma-27b-it",
    ]
    assert len(ne.known_models("nothing like it")) == 0


def test_names_that_mean_the_same_model() -> None:
    assert same_base_model("llama3.1-8b", "meta-llama/Llama-3.1-8B")
    assert same_base_model("EleutherAI/gpt-j-6b", "gptj")
    assert not same_base_model("pythia-70m", "pythia-70m-deduped")


@pytest.mark.parametrize(
    ("source", "parts"),
    {
        "pythia-70m": ("pythia-70m", None),
        "pythia-70m@step3000": ("pythia-70m", "step3000"),
        "owner/name@refs/pr/1": ("owner/name", "refs/pr/1"),
        "https://me@host/name": ("https://me@host/name", None),
        "folder/of/a@b": ("folder/of/a@b", None),
        "./a@b": ("./a@b", None),
        "@b": ("@b", None),
    }.items(),
)
def test_what_is_after_an_at_sign_is_the_revision(source: str, parts: tuple[str, str | None]) -> None:
    assert split_revision(source) == parts


def test_one_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_revision("a/b@c", "c") == ("a/b", "c")
    with pytest.raises(InvalidRequestError, match=r"'a/b@c' names the revision 'c', but revision is 'd'"):
        ne.load_model("a/b@c", revision="d")
    with pytest.raises(InvalidRequestError, match=r"'a/b@' ends with @"):
        ne.load_model("a/b@")
    with pytest.raises(InvalidRequestError, match=r"has no revisions.*'step3'"):
        ne.load_model("tiny@step3")
    save_folder(small_gpt2(), tmp_path / "a" / "b@c")
    monkeypatch.chdir(tmp_path)
    assert ne.load_model("a/b@c", device="cpu").model_name == "b@c"  # a folder of this name comes first
    ne.DstConfig(model_name="pythia-70m@step3000")
    with pytest.raises(UnknownNameError, match="pythia-70n"):
        ne.DstConfig(model_name="pythia-70n@step3000")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two models and one whose config is not there; and no memory of what could not be reached."""
    for name in ("EleutherAI--pythia-14m", "owner--mine"):
        folder = tmp_path / f"models--{name}" / "snapshots" / ("c" * 40)
        save_folder(small_gpt2(), folder)
        refs = folder.parent.parent / "refs"
        refs.mkdir()
        (refs / "main").write_text("c" * 40)
        (refs / "step3").write_text("c" * 40)
    (tmp_path / "models--owner--half").mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(connection, "_unreachable_since", {})
    return tmp_path


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which nobody answers: the connections that wait to be accepted are too many already."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        yield port
        for each in waiting:
            each.close()


def _elapsed(source: str, message: str) -> float:
    begin = time.perf_counter()
    with pytest.raises(CheckpointNotFoundError, match=message):
        ne.load_model(source, device="cpu")
    return time.perf_counter() - begin


def test_without_a_connection_the_cache_is_said_soon(
    cache: Path, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = r"there is no connection\. The hub's cache has: EleutherAI/pythia-14m, owner/mine\."
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent_port}")
    assert _elapsed("EleutherAI/pythia-19m", f"EleutherAI/pythia-19m is not in .*{there}") < 3
    assert _elapsed("pythia-70m@step3", f"EleutherAI/pythia-70m at step3 is not in .*{there}") < 1  # it is remembered
    # What is cached is loaded all the same.
    begin = time.perf_counter()
    assert ne.load_model("pythia-14m", device="cpu").n_layers == 2
    assert ne.load_model("owner/mine@step3", device="cpu").n_layers == 2
    assert time.perf_counter() - begin < 3
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = server.getsockname()[1]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{refused}")
    assert _elapsed("EleutherAI/loaded", there) < 1
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert _elapsed("never/loaded", "HF_HUB_OFFLINE is set. The hub's cache has: owner/mine, EleutherAI/pyt") < 1


def test_a_hub_behind_a_proxy_is_asked_for_at_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_unreachable_since", {})
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert connection.can_connect("https://no-such-host.invalid")
        monkeypatch.setenv("no_proxy", "*")
        assert not connection.can_connect("https://127.0.0.1:9")
    monkeypatch.delenv("no_proxy")
    assert not connection.can_connect("https://no-such-host.invalid")
    assert connection.can_connect("not an address")


def test_a_name_that_nobody_knows_is_answered_with_the_cache(cache: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean: .*The hub's cache has: .*owner/mine") as unknown:
        ne.load_model("mine")
    assert set(unknown.value.choices) == set(MODEL_REGISTRY)
    for number in range(9):
        config = cache / f"models--owner--other{number}" / "snapshots" / "x" / "config.json"
        config.parent.mkdir(parents=True)
        config.touch()
    with pytest.raises(UnknownNameError, match=r"The hub's cache has: owner/mine, .*, … \(11 in all\)"):
        ne.load_model("mine")


def test_a_registered_name_keeps_its_revision(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setitem(MODEL_REGISTRY, "ours", RegisteredModel(name="ours", description="", hub_id="owner/mine"))
    model = ne.load_model("OURS@step3", device="cpu")
    assert model.model_name == "ours"
    with pytest.raises(CheckpointNotFoundError, match="owner/mine at step4 is not in"):
        ne.load_model("ours@step4", device="cpu")
