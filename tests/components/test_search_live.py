"""Search in a model against dense activations, in several families."""

from typing import Any

import numpy as np
import pytest

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.components.search.asking import search
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, NotAtHandError, UnknownNameError

FAMILIES = ["gpt2", "qwen2", "gemma2", "mixtral"]
TEXT = " ".join(f"t{number}" for number in [5, 9, 3, 9, 12, 40, 7, 33, 21, 8, 2])


def dense(context, dst="mlp_post_act", text=TEXT, prepend_bos=None):
    """Activations of every layer, (layers, tokens, components), in float64."""
    store = ne.derive(text, dst, context, prepend_bos=prepend_bos)
    return np.stack([store.activations(dst)[layer].double().numpy() for layer in range(context.n_layers)])


@pytest.mark.parametrize("family", FAMILIES)
def test_most_is_the_largest_activation_at_the_token(family):
    context = small_context(family)
    activations = dense(context)
    for token, places in (("t9", [1, 3]), (-1, [10]), (4, [4]), (None, range(11))):
        table = search(context, TEXT, token, n=7)
        peaks = activations[:, list(places)].max(axis=1)
        expected = sorted(peaks.reshape(-1), reverse=True)[:7]
        assert np.allclose(table["activation"], expected, atol=1e-6)
        assert (table["score"] == table["activation"]).all()
        for row in table.itertuples():
            assert row.position in places
            number: Any = row.activation
            assert np.isclose(activations[row.layer, row.position, row.component], number, atol=1e-6)
            assert row.name == f"L{row.layer}N{row.component}"
        assert table.attrs["n_components"] == activations.shape[0] * activations.shape[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_selective_is_the_distance_from_the_other_tokens(family):
    context = small_context(family)
    activations = dense(context)
    others = np.delete(activations, [1, 3], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = (activations[:, [1, 3]].max(axis=1) - others.mean(axis=1)) / others.std(axis=1)
    expected = np.sort(scores[np.isfinite(scores)])[::-1][:5]
    table = search(context, TEXT, "t9", "selective", n=5)
    assert np.allclose(table["score"], expected, rtol=1e-4)


def test_selective_against_reference_texts():
    context = small_context("qwen2")
    texts = ["t4 t8 t15 t16", "t23 t42 t4"]
    habit = np.concatenate([dense(context, text=text) for text in texts], axis=1)
    activations = dense(context)
    scores = (activations[:, -1] - habit.mean(axis=1)) / habit.std(axis=1)
    table = search(context, TEXT, -1, "selective", n=6, reference=texts, progress=False)
    assert np.allclose(table["score"], np.sort(scores.reshape(-1))[::-1][:6], rtol=1e-4)


def test_heads_take_the_largest_pair_of_the_token_that_attends():
    context = small_context("llama")
    pairs = dense(context, "attn_write_norm")  # layers, pairs, heads
    table = search(context, TEXT, 6, dst="attn_write_norm", n=3)
    expected = np.sort(pairs[:, 21:28].max(axis=1).reshape(-1))[::-1][:3]
    assert np.allclose(table["activation"], expected, atol=1e-6)
    assert table["name"].str.contains("H").all()


def test_the_beginning_token_is_no_hit_nor_part_of_the_habit():
    context = small_context("gpt2")
    activations = dense(context, prepend_bos=True)
    table = search(context, TEXT, n=200, prepend_bos=True)
    assert (table["position"] >= 1).all()
    assert np.allclose(table["activation"].max(), activations[:, 1:].max(), atol=1e-6)
    table = search(context, TEXT, 1, "selective", n=3, prepend_bos=True)
    others = activations[:, 2:]
    scores = (activations[:, 1] - others.mean(axis=1)) / others.std(axis=1)
    assert np.allclose(table["score"], np.sort(scores.reshape(-1))[::-1][:3], rtol=1e-4)
    with pytest.raises(IndexOutOfRangeError):
        search(context, TEXT, 0, prepend_bos=True)


def test_latents():
    context = small_context("gpt2")
    autoencoders = random_autoencoders(context, ne.DerivedScalarType.RESID_POST_MLP)
    table = search(context, TEXT, -1, dst="autoencoder_latent", autoencoders=autoencoders, layers=[1], n=4)
    config = ne.DstConfig(model_context=context, autoencoder_context=autoencoders)
    latents = ne.derive(TEXT, "autoencoder_latent", config).activations("autoencoder_latent")[1][-1].double().numpy()
    assert np.allclose(table["activation"], np.sort(latents)[::-1][:4])
    assert table["name"].str.startswith("L1A").all()


def test_habit_of_a_dataset():
    table = search("tiny", "And the LORD said", " LORD", "selective", model=ne.load_model("tiny"), n=3)
    row = table.iloc[0]
    record = ne.load_neuron("tiny", int(row.layer), int(row.component))
    assert row.score == pytest.approx((row.activation - (record.mean or 0)) / (record.variance or 0) ** 0.5, rel=1e-6)


def test_what_cannot_be_searched():
    context = small_context("gpt2")
    with pytest.raises(InvalidRequestError, match=r"t99.* is not a token"):
        search(context, TEXT, "t99")
    with pytest.raises(InvalidRequestError, match="reference="):
        search(context, "t1 t2 t3", 0, "selective")
    with pytest.raises(InvalidRequestError, match="empty"):
        search(context, "")
    with pytest.raises(UnknownNameError):
        search(context, TEXT, kind="least")  # type: ignore[arg-type]
    with pytest.raises(NotAtHandError, match="model="):
        search("tiny", " the", reference=["a"])
