"""What components, searches and statistics refuse, and how they say it."""

from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.components.batches.tables import read_tables
from neuron_explainer.components.batches.with_tables import N_TOKENS, with_tables
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MalformedDatasetError,
    NonFiniteTensorError,
    UnknownNameError,
)
from neuron_explainer.vocabulary.nodes import AttnSubNode


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("node", ["L9N1", "L1N99999", "L1H99", "L4H0"])
def test_components_that_a_dataset_cannot_have(node, tmp_path):
    with pytest.raises(InvalidRequestError, match="tiny has no"):
        ne.component("tiny", node)
    model = ne.load_model("tiny", device="cpu")
    dst = "attn_write_norm" if "H" in node else "mlp_post_act"
    texts = "And the LORD said unto Moses"
    ne.collate(model, texts, tmp_path / "x" / dst, dst=dst, layers=[1], progress=False)
    with pytest.raises(InvalidRequestError, match="has no"):
        ne.component(tmp_path / "x" / dst, node, dst=dst)
    other = "L2H1" if "H" in node else "L2N5"  # its model has it
    assert ne.component(tmp_path / "x" / dst, other, dst=dst).layer == 2


@pytest.mark.parametrize("dataset", ["gpt2-small", "packed"])
@pytest.mark.parametrize("node", ["L1N5", "L0H1"])
def test_a_dataset_beside_a_model_of_other_sizes(dataset, node, tmp_path):
    """What its neurons write would be told of the other model's."""
    dst = "attn_write_norm" if "H" in node else "mlp_post_act"
    if dataset == "packed":
        model = ne.load_model("tiny", device="cpu")
        ne.collate(model, "And the LORD said", tmp_path / "d", dst=dst, layers=[0, 1], progress=False)
        assert ne.component(tmp_path / "d", node, dst=dst, model=model).writes(3) is not None
        source, model = tmp_path / "d", small_context("gpt2")
    else:
        source, model = dataset, ne.load_model("tiny", device="cpu")
    with pytest.raises(InvalidRequestError, match=r"is of a model with (12|4) layers of"):
        ne.component(source, node, dst=dst, model=model)
    viewer = ne.NeuronViewer(source, node, dst=dst, model=model, load=lambda _: ne.load_neuron("tiny", node, dst=dst))
    viewer.compute("And the LORD said")
    assert "Give the dataset's own model" in str(viewer.error)
    viewer.open_section("directions")
    assert "Give the dataset's own model" in str(viewer.error)
    viewer.open_section("examples")
    assert viewer.error is None


def test_a_model_that_is_loaded_later_is_asked_too():
    from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
    from neuron_explainer.components.at_hand import AtHand
    from neuron_explainer.components.component import Component

    node = Component(NodeName.of("L1N99999"), ne.DerivedScalarType.MLP_POST_ACT, AtHand(None, "tiny", None, True))
    for ask in (node.writes, node.reads, node.neighbours):
        with pytest.raises(InvalidRequestError, match="has no neuron 99999"):
            ask()
    assert "has no" in node.to_html()


@pytest.mark.parametrize("number", ["3", "99"])
def test_latents_out_of_range(number):
    context = small_context("gpt2")
    autoencoders = random_autoencoders(context, ne.DerivedScalarType.RESID_POST_MLP)
    node = ne.component(context, f"L1A{number}", autoencoders=autoencoders)
    asked = [node.writes, node.reads, lambda: node.neighbours(by="write"), lambda: node.neighbours(by="read")]
    asked.append(lambda: node.activations("t3 t4"))
    for ask in asked:
        if number == "3":
            assert len(ask())
        else:
            with pytest.raises(InvalidRequestError, match="99"):
                ask()
    assert "Traceback" not in node.to_html()


def test_an_empty_search_has_the_columns_of_one_that_finds(tmp_path):
    found, none = ne.search("tiny", "LORD", n=2), ne.search("tiny", "no such words at all", n=2)
    assert none.empty
    assert none.columns.tolist() == found.columns.tolist()


@pytest.mark.parametrize("seed", [2**64, -1, 0.5])
def test_seeds(seed):
    with pytest.raises(InvalidRequestError, match="seed"):
        ne.head_scores("tiny", seed=seed, n_sequences=1, length=4, progress=False)
    assert len(ne.head_scores("tiny", seed=2**64 - 1, n_sequences=1, length=4, progress=False)) == 16


def test_folders_that_are_no_dataset(tmp_path):
    (tmp_path / "empty").mkdir()
    model = ne.load_model("tiny", device="cpu")
    ne.collate(model, "And the LORD said", tmp_path / "mlp_post_act", layers=[1], progress=False)
    (tmp_path / "mlp_post_act" / "dataset.json").rename(tmp_path / "gone.json")
    for folder in ("empty", "mlp_post_act"):
        for ask in (lambda path: ne.dataset_statistics(path, progress=False), lambda path: ne.search(path, "LORD")):
            with pytest.raises(MalformedDatasetError, match=r"dataset\.json"):
                ask(tmp_path / folder)


@pytest.mark.parametrize("dst", ["resid_post_mlp", "logits"])
def test_a_search_is_for_components(dst):
    with pytest.raises(InvalidRequestError, match="neurons, heads or latents"):
        ne.search(small_context("gpt2"), "t3 t4", dst=dst)


def test_arguments_without_effect_are_refused():
    context = small_context("gpt2")
    ne.component("tiny", "L2N5").explanations.add("a word")
    given: list[dict[str, Any]] = [
        {"reference": "t3"}, {"prepend_bos": True}, {"model": context},
        {"autoencoders": random_autoencoders(context, ne.DerivedScalarType.RESID_POST_MLP)},
    ]  # fmt: skip
    for arguments in given:
        with pytest.raises(InvalidRequestError, match=next(iter(arguments))):
            ne.search("tiny", "word", kind="explanation", **arguments)
    with pytest.raises(InvalidRequestError, match="no layer 9"):
        ne.search("tiny", "word", kind="explanation", layers=[9])
    assert len(ne.search("tiny", "word", kind="explanation", layers=[2])) == 1
    with pytest.raises(InvalidRequestError, match="reference"):
        ne.search(context, "t3 t4", reference="t5 t6")


def test_a_token_that_the_text_lacks():
    with pytest.raises(InvalidRequestError, match=r"Choose one of: (' the', ' LORD'|' LORD', ' the')\."):
        ne.search("tiny", "the LORD", "Moses")
    for place in (2, -3):
        with pytest.raises(IndexOutOfRangeError, match="at most 2 tokens"):
            ne.search("tiny", "the LORD", place)


def test_kinds_of_neighbours_that_are_accepted():
    node = ne.component("tiny", "L2N5")
    for among in ("zzz", "vocab", "mlp_layer"):
        with pytest.raises(UnknownNameError) as caught:
            node.neighbours(among=among)  # type: ignore[arg-type]
        choices = str(caught.value).partition("Choose one of: ")[2].strip(".").split(", ")
        assert sorted(choices) == ["head", "latent", "neuron"]


def test_distance_is_for_positions_that_are_rotated():
    learned, rotary = (ne.component(small_context(family), "L1H0") for family in ("gpt2", "qwen2"))
    assert learned.reads(2).attrs["distance"] is None
    with pytest.raises(InvalidRequestError, match="not rotary"):
        learned.reads(2, distance=3)
    assert "one apart" not in learned.to_html()
    assert rotary.reads(2, distance=3).attrs["distance"] == 3
    assert not np.allclose(rotary.reads(2)["value"], rotary.reads(2, distance=3)["value"])
    assert "one apart" in rotary.to_html()


def damaged(family, change):
    context = small_context(family)
    with torch.no_grad():
        change(context.get_or_create_model())
    return context


def test_weights_that_are_not_finite():
    def neuron(model):
        model.blocks[1].mlp.output_weight[:, 3] = torch.nan
        model.blocks[1].mlp.input_weight[4] = torch.inf

    context = damaged("gpt2", neuron)
    with pytest.raises(NonFiniteTensorError, match="L1N3"):
        ne.component(context, "L1N3").writes()
    with pytest.raises(NonFiniteTensorError, match="L1N4"):
        ne.component(context, "L1N4").reads()
    for by, name in (("write", "L1N3"), ("read", "L1N4")):
        for asked in (name, "L0N2"):
            with pytest.raises(NonFiniteTensorError, match=name):
                ne.component(context, asked).neighbours(by=by)  # type: ignore[arg-type]
    assert "infinite or NaN" in ne.component(context, "L1N3").to_html()
    sound, broken = with_tables(ne.component(context, "L1N2"), [2, 3])  # as the pages of a site ask
    with pytest.raises(NonFiniteTensorError, match="L1N3"):
        broken.writes(N_TOKENS)
    assert sound.writes(N_TOKENS).equals(ne.component(context, "L1N2").writes(N_TOKENS))
    with pytest.raises(NonFiniteTensorError, match="L1N4"):
        read_tables(ne.component(context, "L1N3"), range(3, 6), 4)


def test_heads_whose_weights_are_not_finite():
    def values(model):
        model.blocks[2].attention.output_by_head()[1, 0, 0] = torch.nan

    context = damaged("llama", values)
    node = ne.component(context, "L2H1")
    for ask in (node.writes, node.neighbours, lambda: node.copying_score):
        with pytest.raises(NonFiniteTensorError, match="L2H1"):
            ask()
    with pytest.raises(NonFiniteTensorError, match="L2H1"):
        ne.head_scores(context, n_sequences=1, length=4, progress=False)

    def queries(model):
        model.blocks[1].attention.part(AttnSubNode.Q)[0][0] = torch.nan

    with pytest.raises(NonFiniteTensorError, match="L1H0"):
        ne.head_scores(damaged("gpt2", queries), n_sequences=1, length=4, progress=False)
