"""One component's record on the spot: what a dataset of the same texts would say of it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import neuron_explainer as ne
from helpers.collation_models import begun_context, model_context, random_texts
from helpers.derived_scalars import annotations_unchecked
from neuron_explainer.errors import InvalidRequestError


def test_is_what_a_dataset_says(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(12)
    path = ne.collate(
        context,
        texts,
        tmp_path / "made",
        context_length=64,
        top_k=6,
        random_k=4,
        quantiles=0,
        layers=1,
        activation_dtype="float32",
        progress=False,
    )
    for neuron in (0, 77):
        live = ne.live_record(context, 1, neuron, texts, top_k=6, random_k=4)
        filed = ne.load_neuron(path, 1, neuron)
        for name in ("mean", "variance", "skewness", "kurtosis"):
            assert getattr(live, name) == pytest.approx(getattr(filed, name), rel=1e-12)
            live = dataclasses.replace(live, **{name: getattr(filed, name)})
        assert live == filed


def test_a_few_sentences() -> None:
    context = model_context()
    record = ne.live_record(context, 2, 5, ["w1 w2 w3", "w4 w5"])
    assert record.neuron_id == ne.NeuronId(2, 5)
    assert sorted("".join(example.tokens) for example in record.most_positive_activation_records) == ["w1w2w3", "w4w5"]
    store = ne.derive("w1 w2 w3", [ne.DerivedScalarType.MLP_POST_ACT], ne.DstConfig(model_context=context))
    values = store.activations(ne.DerivedScalarType.MLP_POST_ACT)[2][:, 5]
    (example,) = (example for example in record.random_sample if len(example.tokens) == 3)
    assert example.activations == pytest.approx(values.tolist(), rel=1e-6)


def test_attention_heads_and_one_string() -> None:
    context = model_context("llama")
    record = ne.live_record(context, 0, 3, "w1 w2 w3 w4", dst="attn_write_norm")
    (example,) = record.most_positive_activation_records
    assert len(example.activations) == 10
    store = ne.derive("w1 w2 w3 w4", [ne.DerivedScalarType.ATTN_WRITE_NORM], ne.DstConfig(model_context=context))
    expected = store.activations(ne.DerivedScalarType.ATTN_WRITE_NORM)[0][:, 3]
    assert np.allclose(example.activations, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "neuron", "texts", "named"),
    [
        (3, 0, ["w1"], "no layer 3"),
        (0, 128, ["w1"], "no component 128; components: 0–127"),
        (0, -1, ["w1"], "neuron is -1"),
        (0, 0, [], "contain no tokens"),
        (0, 0, [""], "contain no tokens"),
    ],
)
def test_missing_components_and_texts_are_named(layer: int, neuron: int, texts: list[str], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        ne.live_record(model_context(), layer, neuron, texts)


def test_a_scalar_without_layers_has_layer_0() -> None:
    record = ne.live_record(model_context(), 0, 5, "w1 w2", dst="logits")
    assert record.neuron_id == ne.NeuronId(0, 5)
    with pytest.raises(InvalidRequestError, match=r"logits has no layers\. Give layer 0\."):
        ne.live_record(model_context(), 1, 5, "w1 w2", dst="logits")


def test_arguments_are_not_taken_for_others() -> None:
    with pytest.raises(InvalidRequestError, match="context_length is 0"):
        ne.live_record(model_context(), 0, 0, "w1", context_length=0)
    with annotations_unchecked():
        with pytest.raises(InvalidRequestError, match="progress is 'no'"):
            ne.live_record(model_context(), 0, 0, "w1", progress="no")  # type: ignore[arg-type]
        for layer in ("w1 w2", None):
            with pytest.raises(InvalidRequestError, match=f"layer is {layer!r}.*model, layer, neuron, texts"):
                ne.live_record(model_context(), layer, 0, "w1")  # type: ignore[arg-type]


@pytest.mark.parametrize("dst", ["mlp_post_act", "attn_write_norm"])
def test_the_beginning_token_is_the_models_own(dst: str, tmp_path: Path) -> None:
    context, text = begun_context(), "w1 w2 w3"
    store = ne.derive(text, [dst], ne.DstConfig(model_context=context))
    expected = store.activations(dst)[1][:, 2]
    (example,) = ne.live_record(context, 1, 2, text, dst=dst).most_positive_activation_records
    assert example.tokens == ["w9", "w1", "w2", "w3"]
    assert np.allclose(example.activations, expected, rtol=1e-5)
    path = ne.collate(context, [text], tmp_path / "made", dst, context_length=8, progress=False)
    (filed,) = ne.load_neuron(path, 1, 2).most_positive_activation_records
    assert filed.tokens == example.tokens
    provenance = json.loads((path / "dataset.json").read_text())["provenance"]
    assert (provenance["settings"]["prepend_bos"], provenance["bos_token"]) == (True, 9)
    (bare,) = ne.live_record(context, 1, 2, text, dst=dst, prepend_bos=False).most_positive_activation_records
    assert bare.tokens == ["w1", "w2", "w3"]


def test_every_sequence_of_a_long_text_begins_with_the_token() -> None:
    record = ne.live_record(begun_context(), 1, 2, "w1 w2 w3 w4 w5", context_length=3)
    tokens = sorted(example.tokens for example in record.most_positive_activation_records)
    assert tokens == [["w9", "w1", "w2"], ["w9", "w3", "w4"], ["w9", "w5"]]


@pytest.mark.parametrize("dst", ["mlp_post_act", "attn_write_norm"])
def test_a_long_text_is_there_whole_in_order_and_once(dst: str) -> None:
    words = [f"w{number * 7 % 60}" for number in range(400)]
    record = ne.live_record(model_context(), 1, 2, " ".join(words), dst=dst, context_length=12)
    found = [token for example in record.most_positive_activation_records for token in example.tokens]
    assert found == words


def test_texts_in_memory_are_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    context, texts = begun_context(), ["w1 w2 w3", "w4 w5"]
    expected = ne.live_record(context, 1, 2, texts)
    tokenised: list[str] = []
    encode = context.encode

    def counted(text: str, *, add_special_tokens: bool = True) -> list[int]:
        tokenised.append(text)
        return encode(text, add_special_tokens=add_special_tokens)

    monkeypatch.setattr(context, "encode", counted)
    assert ne.live_record(context, 1, 2, texts) == expected
    assert [text for text in tokenised if text in texts] == texts
