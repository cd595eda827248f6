"""`ne.component`: which component is meant, what it is looked at with, and what it says where something is missing."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from helpers.collation_models import begun_context, model_context, random_texts
from neuron_explainer.components.held import MOST_BYTES, held
from neuron_explainer.errors import (
    InvalidIndexError,
    InvalidRequestError,
    MisconfiguredError,
    NodeNameError,
    NotAtHandError,
    UnknownNameError,
    UnsupportedLocationError,
)


@pytest.fixture(scope="module")
def tiny() -> ne.StandardModelContext:
    return ne.load_model("tiny", device="cpu")


# Which component is meant


@pytest.mark.parametrize(
    ("node", "name", "dst"),
    [
        ("L2N5", "L2N5", "mlp_post_act"),
        ("l2n5@3", "L2N5", "mlp_post_act"),
        ("2:5", "L2N5", "mlp_post_act"),
        ("L0H1@2<-0", "L0H1", "attn_write_norm"),
        (ne.NodeIndex("mlp_neuron", 2, (4, 5)), "L2N5", "mlp_post_act"),
        (ne.DerivedScalarIndex("attn_write_norm", 0, (3, 1)), "L0H1", "attn_write_norm"),
    ],
)
def test_a_dataset_s_component_has_its_name_and_its_scalar(node, name, dst):
    node = ne.component("tiny", node)
    assert (str(node.name), node.dst.value, node.at_hand.dataset) == (name, dst, "tiny")
    assert node.record == ne.load_neuron("tiny", name, dst=dst)


@pytest.mark.parametrize(("node", "dst"), [("L3H2", "attn_write_norm"), ("L1N511", "mlp_post_act")])
def test_a_model_s_component_has_the_usual_scalar(tiny, node, dst):
    node = ne.component(tiny, node)
    assert node.dst.value == dst
    assert node.at_hand.dataset is None
    assert node.model("test") is tiny


def test_the_scalar_can_be_another(tiny):
    node = ne.component(tiny, "1:7", dst="mlp_pre_act")
    assert (str(node.name), node.dst.value) == ("L1N7", "mlp_pre_act")
    with pytest.raises(NodeNameError, match="'L1H2' names an attention head, but an MLP neuron is asked for"):
        ne.component(tiny, "L1H2", dst="mlp_pre_act")


def test_a_row_of_a_table_is_taken(tiny):
    row = ne.attribute(tiny, "And the LORD said", " unto").neurons(1).iloc[0]
    assert str(ne.component(tiny, row).name) == row["name"].partition("@")[0]


def test_a_text_that_is_no_dataset_is_a_model():
    node = ne.component("tiny", "L2N5", model="tiny")
    assert node.at_hand.given is not None
    assert node.at_hand.dataset == "tiny"
    with pytest.raises(UnknownNameError, match="gpt2-smal"):
        ne.component("gpt2-smal", "L5N131")


def test_a_folder_of_records_is_a_dataset_and_a_checkpoint_s_is_not(tmp_path):
    texts = random_texts(5)
    context = model_context()
    folder = ne.collate(context, texts, out=tmp_path / "made", layers=[1], context_length=32, progress=False)
    node = ne.component(folder, "L1N3", model=context)
    assert node.record.neuron_id == ne.NeuronId(1, 3)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    with pytest.raises(ne.errors.CheckpointError):
        ne.component(tmp_path / "checkpoint", "L1N3")


@pytest.mark.parametrize(
    ("node", "error", "message"),
    [
        ("L9N1", InvalidRequestError, "tiny has no layer 9; layers: 0–3"),
        ("L0N512", InvalidRequestError, "Layer 0 of tiny has no neuron 512; neurons: 0–511"),
        ("L0H4", InvalidRequestError, "Layer 0 of tiny has no head 4; heads: 0–3"),
        ("L0RESID", InvalidIndexError, "L0RESID is not one head, neuron or latent"),
        ("nonsense", NodeNameError, "'nonsense' is not a node's name"),
        ("L0A4", NotAtHandError, r"no autoencoder is at hand: pass autoencoders="),
    ],
)
def test_what_the_model_does_not_have_is_refused(tiny, node, error, message):
    with pytest.raises(error, match=message):
        ne.component(tiny, node)


def test_arguments_of_other_types_are_refused(tiny):
    with pytest.raises(InvalidRequestError, match="The first argument is None"):
        ne.component(None, "L2N5")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="The first argument is None"):
        ne.search(None, " the")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedLocationError):
        ne.component(tiny, "L2N5", explanations=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="prepend_bos"):
        ne.component(tiny, "L2N5", prepend_bos="yes")  # type: ignore[arg-type]


def test_a_model_or_dataset_given_twice_is_refused(tiny):
    with pytest.raises(InvalidRequestError, match="'tiny' and 'gpt2-xl' are both datasets"):
        ne.component("tiny", "L2N5", dataset="gpt2-xl")
    with pytest.raises(InvalidRequestError, match="is a model, and model= gives another"):
        ne.component(tiny, "L2N5", model="tiny")
    with pytest.raises(NotAtHandError, match="pass model="):
        ne.component("gpt2-small", "L2N5", autoencoders=object())  # type: ignore[arg-type]
    with pytest.raises(MisconfiguredError, match="autoencoders is"):
        ne.component(tiny, "L2N5", autoencoders=3)  # type: ignore[arg-type]


# What is missing says so


@pytest.mark.parametrize(
    "asked",
    [
        lambda node: node.writes(3),
        lambda node: node.reads(3),
        lambda node: node.neighbours(3),
        lambda node: node.activations("a text"),
    ],
)
@pytest.mark.parametrize("name", ["L5N131", "L5H1"])
def test_without_a_model_the_error_names_what_is_missing(asked, name):
    dst = "attn_write_norm" if "H" in name else "mlp_post_act"
    with pytest.raises(NotAtHandError, match="no model is at hand: pass model=") as caught:
        asked(ne.component("gpt2-small", name, dst=dst))
    assert caught.value.missing == "model"


def test_without_a_dataset_the_error_names_what_is_missing(tiny):
    node = ne.component(tiny, "L2N5")
    for asked in (lambda: node.record, lambda: node.statistics):
        with pytest.raises(NotAtHandError, match="no dataset is at hand: pass dataset=") as caught:
            asked()
        assert caught.value.missing == "dataset"


def test_a_neuron_that_the_dataset_lacks_is_said_at_once():
    with pytest.raises(InvalidRequestError, match="has no neuron 999"):
        ne.component("tiny", "L2N999")


def test_a_record_is_shown_without_torch():
    code = "import sys, neuron_explainer as ne; ne.component('tiny', 'L2N5').record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# One's own texts


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mixtral"])
def test_activations_are_those_that_derive_gives(family):
    context, texts = model_context(family), random_texts(3, seed=5)
    table = ne.component(context, "L1N40").activations(texts)
    for number, text in enumerate(texts):
        store = ne.derive(text, "mlp_post_act", context)
        expected = store.activations("mlp_post_act")[1]
        expected = (expected.dense() if hasattr(expected, "dense") else expected)[:, 40]
        mine = table[table["text"] == number]
        assert mine["position"].tolist() == list(range(len(expected)))
        assert mine["token"].tolist() == context.decode_token_list(context.encode(text))
        np.testing.assert_allclose(mine["activation"], expected, rtol=1e-6, atol=1e-7)


def test_of_a_head_there_is_a_row_for_each_pair():
    context = model_context("gpt2")
    table = ne.component(context, "L2H3").activations("w3 w4 w5")
    expected = ne.derive("w3 w4 w5", "attn_write_norm", context).activations("attn_write_norm")[2][..., 3]
    pairs = zip(table["position"], table["attended_to_position"], table["activation"], strict=True)
    assert [(row, column) for row, column, _ in pairs] == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    np.testing.assert_allclose(table["activation"], expected, rtol=1e-6)
    assert table["attended_to"].tolist() == ["w3", "w3", "w4", "w3", "w4", "w5"]


def test_a_latent_s_activations_are_its_autoencoder_s():
    context = model_context("llama")
    autoencoders = random_autoencoders(context, ne.DerivedScalarType.RESID_DELTA_MLP)
    node = ne.component(context, "L1A7", autoencoders=autoencoders)
    table = node.activations("w3 w4 w5 w6")
    delta = ne.derive("w3 w4 w5 w6", "resid_delta_mlp", context).activations("resid_delta_mlp")[1]
    expected = autoencoders.get_autoencoder(1).encode(delta)[:, 7]
    np.testing.assert_allclose(table["activation"], expected, rtol=1e-6, atol=1e-9)


def test_the_beginning_token_is_as_the_component_was_made():
    context = begun_context()
    with_it = ne.component(context, "L1N3").activations("w5 w6")
    without = ne.component(context, "L1N3", prepend_bos=False).activations("w5 w6")
    assert with_it["token"].tolist() == ["w9", "w5", "w6"]
    assert without["token"].tolist() == ["w5", "w6"]
    assert ne.component(context, "L1N3").activations("w5 w6", prepend_bos=False).equals(without)


# What is kept of a model's weights


def test_what_is_held_is_made_again_when_weights_change(tiny):
    model = ne.load_model("tiny", device="cpu").get_or_create_model()
    made: list[int] = []

    def total() -> torch.Tensor:
        made.append(1)
        return model.embedding.sum()

    first = held(model, "total", total)
    assert held(model, "total", total) is first
    assert len(made) == 1
    with torch.no_grad():
        model.blocks[0].mlp.input_weight.mul_(2)
    assert held(model, "total", total) is not first
    assert len(made) == 2


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr("neuron_explainer.components.held.MOST_BYTES", 1000)
    assert MOST_BYTES > 2**30
    model = ne.load_model("tiny", device="cpu").get_or_create_model()
    first = held(model, "first", lambda: torch.zeros(200))
    held(model, "second", lambda: (torch.zeros(100), [torch.zeros(100)]))
    assert held(model, "first", lambda: torch.ones(200)) is not first
