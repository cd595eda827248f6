"""What a person writes is understood, or refused with an error that says what to write."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import annotations_unchecked
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, PromptError, UnknownNameError
from neuron_explainer.models.devices import as_device, as_dtype
from neuron_explainer.models.model_registry import MODEL_REGISTRY

TINY = ne.load_model("tiny", device="cpu")
TRANSFORMER = TINY.get_or_create_model()
NE: Any = ne  # so that mypy lets wrong types pass
MODEL: Any = TINY
REFUSED: dict[str, tuple[Any, str]] = {
    "a model again": (lambda: NE.load_model(TINY), "tiny is loaded already"),
    "a transformer": (lambda: NE.load_model(TRANSFORMER), r"StandardModelContext\(name, transformer\)"),
    "a number as config": (lambda: NE.load_model("tiny", config=5), r"config is 5\. Give a dict"),
    "a number as name": (lambda: NE.load_model("tiny", name=3), "name is 3"),
    "a number as revision": (lambda: NE.load_model("tiny", revision=3), "revision is 3"),
    "a number as token": (lambda: NE.load_model("tiny", token=3), "token is 3"),
    "a module without config": (
        lambda: NE.load_model(torch.nn.Embedding(2, 2)),
        "^Embedding has no transformers config",
    ),
    "no autoencoders in a list": (lambda: NE.load_autoencoders([]), "at least one path"),
    "no autoencoders in a mapping": (lambda: NE.load_autoencoders({}, "mlp_post_act"), "at least one path"),
    "a number as autoencoders": (lambda: NE.load_autoencoders(5), "5 is not an autoencoder"),
    "a name as model": (lambda: NE.load_autoencoders("x", model="tiny"), "model must be of type ModelContext, not str"),
    "no file": (lambda: NE.load_autoencoder(""), "^'' is not in an autoencoder format"),
    "a number as base model": (
        lambda: NE.AutoencoderConfig("mlp_post_act", base_model_name=5),
        "base_model_name must be of type str",
    ),
    "a text as model to register": (lambda: NE.register_model("x"), "RegisteredModel, not str"),
    "a number as registered name": (
        lambda: NE.register_model(NE.RegisteredModel(name=5, description="", path="x")),
        "name must be of type str, not int",
    ),
    "a number as registered path": (
        lambda: NE.register_model(NE.RegisteredModel(name="x", description="", path=5)),
        "5 is not a location",
    ),
    "a text as tokens": (lambda: TRANSFORMER("a text"), r"tokens is of type str\. .*model\.to_tokens\(text\)"),
    "a list as tokens": (lambda: TRANSFORMER([1, 2]), r"tokens is of type list\. .*torch\.tensor\(\[ids\]\)"),
    "one prompt without batch": (lambda: TRANSFORMER(torch.tensor([1, 2])), r"use tokens\[None\]"),
    "an empty text": (lambda: TRANSFORMER(MODEL.to_tokens("")), "needs at least one token"),
    "a number as text": (lambda: MODEL.encode(5), "text must be of type str, not int"),
    "texts as a text": (lambda: MODEL.to_tokens(["a"]), "text must be of type str, not list"),
    "a number as texts": (lambda: MODEL.encode_token_str_list(5), "texts is 5"),
    "a number as prompt": (lambda: MODEL.generate(5), "Give a text or a flat sequence of token ids, not 5"),
    "a temperature alone": (lambda: MODEL.generate("a", sampling=0.7), r"ne\.Sampling\(temperature=0\.7\)"),
    "settings of sampling": (lambda: MODEL.generate("a", sampling={"top_k": 3}), r"Give a Sampling: ne\.Sampling"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_by_an_error_that_says_what_to_write(what: str) -> None:
    call, message = REFUSED[what]
    with annotations_unchecked(), pytest.raises(NeuronExplainerError, match=message):
        call()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("fp16", torch.float16),
        ("half", torch.float16),
        ("BF16", torch.bfloat16),
        ("fp32", torch.float32),
        ("Float32", torch.float32),
        ("torch.float64", torch.float64),
        ("double", torch.float64),
        (np.float32, torch.float32),
        (np.dtype("float64"), torch.float64),
        (torch.float32, torch.float32),
    ],
)
def test_dtypes_by_every_usual_name(given: Any, meant: torch.dtype) -> None:
    assert as_dtype(given) is meant
    assert ne.load_model("tiny", device="cpu", dtype=given).get_or_create_model().dtype is meant


def test_what_is_not_a_dtype_is_refused() -> None:
    for given in (float, 5, [torch.float32]):
        with (
            annotations_unchecked(),
            pytest.raises(InvalidRequestError, match=r"is not a dtype\. Give one of: float64"),
        ):
            as_dtype(given)  # type: ignore[arg-type]  # that is what is tested
    for unsupported in ("int8", np.int64, torch.int8):
        with pytest.raises(UnknownNameError, match="Unknown dtype 'int"):
            as_dtype(unsupported)


def test_devices_by_name_in_any_case_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_device("CPU") == torch.device("cpu")
    wrong: list[Any] = [True, 1.5, -1, [], "gpu"]
    for given in wrong:
        with annotations_unchecked(), pytest.raises(InvalidRequestError, match="is not a device"):
            as_device(given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert as_device(1) == as_device(np.int64(1)) == torch.device("cuda", 1)
    with pytest.raises(InvalidRequestError, match=r"cuda:2 does not exist\. CUDA devices: 0–1"):
        as_device(2)


def test_names_of_models_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ne.load_model("Tiny", device="cpu").model_name == "tiny"
    assert ne.load_autoencoders("AE-MLP-post-act-v4").autoencoder_config.name == "ae-mlp-post-act-v4"
    with pytest.raises(InvalidRequestError, match="The name 'tiny' is taken"):
        ne.register_model(ne.RegisteredModel(name="TINY", description="another", hub_id="owner/name"))
    monkeypatch.setitem(MODEL_REGISTRY, "tiny", MODEL_REGISTRY["tiny"])  # so that it comes back
    ne.register_model(ne.RegisteredModel(name="TINY", description="another", path=tmp_path), replace=True)
    assert [name for name in MODEL_REGISTRY if name.lower() == "tiny"] == ["TINY"]
    del MODEL_REGISTRY["TINY"]


def test_a_folder_comes_before_a_registered_name_in_another_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuronExplainerError, match=r"Tiny has no config\.json"):
        ne.load_model("Tiny", device="cpu")
    assert ne.load_model("tiny", device="cpu").n_layers == 4


def test_what_only_the_transformer_has_is_pointed_to() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'forward'; .*get_or_create_model\(\)\.forward"):
        TINY.forward  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(TINY, "nothing_of_this_name")
    assert issubclass(PromptError, InvalidRequestError)
