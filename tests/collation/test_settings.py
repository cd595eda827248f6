"""The settings of collating: defaults, ranges and meanings stand once; `collate` takes them in every way."""

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.collation_models import model_context, random_texts
from helpers.derived_scalars import annotations_unchecked
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.collation.settings import AllSettings, SettingsChanges
from neuron_explainer.errors import InvalidRequestError, UnknownNameError

SMALL = ne.CollateSettings(context_length=8, top_k=2, random_k=1, quantiles=0)


def test_types_and_documentation_name_every_setting() -> None:
    fields = ne.CollateSettings.__dataclass_fields__.keys()
    assert AllSettings.__annotations__.keys() == fields
    assert SettingsChanges.__annotations__.keys() == fields - {"dst", "layers"}
    for documented in (ne.CollateSettings, ne.collate):
        text = inspect.getdoc(documented)
        assert text is not None
        assert all(f"\n    {name}: " in text for name in fields)
        assert "{" not in text.replace("`{out}.collating`", "")
    assert "Default: 128." in (inspect.getdoc(ne.collate) or "")
    arguments = inspect.signature(ne.collate).parameters
    text = inspect.getdoc(ne.collate) or ""
    assert not [
        name
        for name in arguments
        if name != "changes" and not re.search(rf"^ +(\w+, )*{name}(, \w+)*: ", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("layers", [2, np.int64(2), [2], (2,), np.array([2]), torch.tensor([2]), torch.tensor(2)])
def test_whole_numbers_of_every_kind(layers: Any) -> None:
    settings = ne.CollateSettings(layers=layers, top_k=np.int32(4), seed=torch.tensor(7))
    assert settings == ne.CollateSettings(layers=[2], top_k=4, seed=7)
    assert (type(settings.top_k), type(settings.seed)) == (int, int)
    assert settings.layers == (2,)


def test_names_of_derived_scalars() -> None:
    for name in ("mlp_pre_act", "MLP_PRE_ACT", ne.DerivedScalarType.MLP_PRE_ACT):
        assert ne.CollateSettings(dst=name).dst is ne.DerivedScalarType.MLP_PRE_ACT
    with pytest.raises(UnknownNameError, match="mlp_pre_act"):
        ne.CollateSettings(dst="mlp_pre_atc")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"context_length": 0}, "context_length is 0. Give a whole number, 1 or more."),
        ({"context_length": None}, "context_length is None"),
        ({"context_length": 1, "prepend_bos": True}, "context_length is 1. With a beginning token"),
        ({"stride": 200}, "stride is 200, but a sequence has only 128 tokens"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": True}, "top_k is True"),
        ({"top_k": 2.0}, "top_k is 2.0"),
        ({"quantiles": 1}, "quantiles is 1. Use 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "below 2^32"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
        ({"prepend_bos": "yes"}, "prepend_bos is 'yes'. Give True or False."),
        ({"layers": (1, 1)}, "Give each layer once"),
        ({"layers": [0.5]}, "as a whole number"),
        ({"layers": "1"}, "layers is '1'"),
        ({"layers": []}, "layers is empty. Name at least one layer, or use None for all."),
    ],
)
def test_settings_are_checked_where_they_enter(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ne.CollateSettings(**wrong)
    assert said in str(caught.value)


def test_an_unknown_keyword_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"CollateSettings\(\) has no argument 'topk'. Did you mean: top_k,"):
        ne.CollateSettings(topk=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"collate\(\) has no argument 'devise'. Did you mean: device,"):
        ne.collate(model_context(), ["w1"], tmp_path / "made", devise="cpu")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"out": None}, InvalidRequestError, "out is None. Give a local path."),
        ({"out": ""}, InvalidRequestError, "out is ''. Give a local path."),
        ({"out": "https://host/x?key=1"}, InvalidRequestError, "out is an address, https://host/x. Give a local path."),
        ({"progress": "no"}, InvalidRequestError, "progress is 'no'. Give True or False."),
        ({"overwrite": "no"}, InvalidRequestError, "overwrite is 'no'. Give True or False."),
        ({"registered_as": 5}, InvalidRequestError, "registered_as must be of type str"),
        ({"corpus_name": 5}, InvalidRequestError, "corpus_name must be of type str"),
        ({"registered_as": ""}, InvalidRequestError, "registered_as is empty"),
        ({"ray_address": 5}, InvalidRequestError, "ray_address must be of type str"),
        (
            {"engine": 3},
            ne.errors.UnknownNameError,
            "3 is of type int. Give the name of an engine. Choose one of: local",
        ),
        ({"loss": "logit_diff"}, InvalidRequestError, "loss must be a LossFnConfig"),
        ({"model": 5}, InvalidRequestError, "type int is not a model. Give a name, a path,"),
        ({"save_every_seconds": -1}, InvalidRequestError, "save_every_seconds is -1. Give a number, 0 or more."),
        ({"n_workers": 0}, InvalidRequestError, "n_workers is 0"),
        ({"n_workers": 2}, InvalidRequestError, "n_workers is for Ray, but engine is 'local'"),
        ({"ray_address": "auto"}, InvalidRequestError, "ray_address is for Ray"),
        ({"settings": 5}, InvalidRequestError, "settings must be of type CollateSettings"),
        ({"settings": {"topk": 3}}, TypeError, "has no argument 'topk'. Did you mean: top_k,"),
        ({"settings": {"top_k": 0}}, InvalidRequestError, "top_k is 0"),
        ({"device": "gpu"}, InvalidRequestError, "'gpu' is not a device"),
        ({"device": "meta"}, InvalidRequestError, "the model is already on cpu"),
        ({"dtype": "float16"}, InvalidRequestError, "but the model is torch.float64"),
        ({"dtype": "float"}, ne.errors.UnknownNameError, "Unknown dtype 'float'"),
        ({"config": 5}, InvalidRequestError, "config must be a model"),
        ({"config": model_context("llama")}, InvalidRequestError, "The config has another model than the one given"),
        ({"dst": "mlp_write"}, InvalidRequestError, "Did you mean: mlp_write_norm, "),
    ],
)
def test_arguments_are_refused_before_anything_is_written_or_removed(
    tmp_path: Path, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    out = tmp_path / "made"
    arguments: dict[str, Any] = {"model": model_context(), "texts": ["w1 w2"], "out": out, "settings": SMALL}
    arguments["progress"] = False
    before = ne.collate(**arguments) / "dataset.json"
    with annotations_unchecked(), pytest.raises(error) as caught:
        ne.collate(**arguments | {"overwrite": True} | wrong)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
    assert before.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_live_record_and_verify_refuse_what_is_no_loss_and_no_model() -> None:
    wrong: Any = "logit_diff"
    with annotations_unchecked():
        with pytest.raises(InvalidRequestError, match="loss must be a LossFnConfig"):
            ne.live_record(model_context(), 0, 1, ["w1"], loss=wrong)
        with pytest.raises(InvalidRequestError, match="loss must be a LossFnConfig"):
            ne.verify("tiny", 1, loss=wrong)
        wrong = 3
        with pytest.raises(InvalidRequestError, match=r"type int is not a model\. Give a name"):
            ne.verify("tiny", model=wrong)


def test_settings_as_a_mapping(tmp_path: Path) -> None:
    path = ne.collate(
        model_context(), ["w1 w2"], tmp_path / "a", settings={"context_length": 8, "seed": 1}, seed=2, progress=False
    )
    made_with = PackedDataset.open(path).info.provenance["settings"]
    assert made_with == ne.CollateSettings(context_length=8, seed=2, prepend_bos=False).to_json()


def test_a_model_as_the_config(tmp_path: Path) -> None:
    context = model_context()
    assert ne.collate(context, ["w1 w2"], tmp_path / "a", config=context, settings=SMALL, progress=False).is_dir()


def test_keywords_change_the_given_settings(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(3)
    path = ne.collate(context, texts, tmp_path / "a", layers=np.array([1]), settings=SMALL, seed=5, progress=False)
    made_with = PackedDataset.open(path).info.provenance["settings"]
    assert (
        made_with == ne.CollateSettings(**SMALL.to_json() | {"layers": [1], "seed": 5, "prepend_bos": False}).to_json()
    )
    dst = ne.CollateSettings(dst="attn_write_norm", context_length=8)
    path = ne.collate(context, texts, tmp_path / "b", settings=dst, progress=False)
    assert PackedDataset.open(path).info.derived_scalar_type == "attn_write_norm"


def test_the_old_name_of_save_every_seconds(tmp_path: Path) -> None:
    options: dict[str, Any] = {"settings": SMALL, "progress": False, "checkpoint_seconds": 1.0}
    with pytest.warns(DeprecationWarning, match="save_every_seconds"):
        ne.collate(model_context(), ["w1 w2"], tmp_path / "made", **options)
    with pytest.raises(TypeError, match="checkpoint_seconds"):
        ne.collate(model_context(), ["w1 w2"], tmp_path / "made", save_every_seconds=2.0, **options)
