"""Correlations and overlaps of activations against NumPy's, in several families."""

from typing import Any

import numpy as np
import pytest

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders, small_context
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.components.neighbours.by_activation import neighbours_by_activation
from neuron_explainer.errors import InvalidRequestError, NotAtHandError

TEXTS = ["t5 t9 t3 t9 t12 t40 t7", "t4 t2", "t33 t21 t8 t2 t60 t44 t11 t3 t19"]


def values_of(context, dst, config=None):
    """(layers, tokens of all texts, components)."""
    stores = [ne.derive(text, dst, config or context) for text in TEXTS]
    return np.stack(
        [
            np.concatenate([store.activations(dst)[layer].double().numpy() for store in stores])
            for layer in range(context.n_layers)
        ]
    )


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "mixtral"])
def test_neurons_against_numpy(family):
    context = small_context(family)
    values = values_of(context, "mlp_post_act")
    own = values[1, :, 3]
    table = neighbours_by_activation(ne.component(context, "L1N3"), 1000, NodeKind.NEURON, None, TEXTS, False)
    assert table.attrs["n_tokens"] == values.shape[1]
    assert table["correlation"].is_monotonic_decreasing
    assert "L1N3" not in set(table["name"])
    with np.errstate(invalid="ignore", divide="ignore"):
        constant = sum(np.ptp(values[layer, :, index]) == 0 for layer in range(3) for index in range(values.shape[2]))
    assert len(table) == values.shape[0] * values.shape[2] - 1 - constant
    for row in table.itertuples():
        other = values[row.layer, :, row.component]
        assert row.correlation == pytest.approx(np.corrcoef(own, other)[0, 1], abs=1e-5)
        either = ((own > 0) | (other > 0)).sum()
        assert row.overlap == pytest.approx(((own > 0) & (other > 0)).sum() / either)


def test_heads_over_pairs():
    context = small_context("llama")
    stores = [ne.derive(text, "attn_write_norm", context) for text in TEXTS]
    flat = {
        (layer, head): np.concatenate(
            [store.activations("attn_write_norm")[layer][:, head].double().numpy() for store in stores]
        )
        for layer in range(3)
        for head in range(4)
    }
    table: Any = neighbours_by_activation(ne.component(context, "L0H1"), 50, NodeKind.HEAD, [0, 2], TEXTS, False)
    assert set(table["layer"]) == {0, 2}
    for row in table.itertuples():
        expected = np.corrcoef(flat[0, 1], flat[row.layer, row.component])[0, 1]
        assert row.correlation == pytest.approx(expected, abs=1e-5)


def test_latents_of_a_neuron():
    context = small_context("gpt2")
    autoencoders = random_autoencoders(context, ne.DerivedScalarType.RESID_POST_MLP)
    config = ne.DstConfig(model_context=context, autoencoder_context=autoencoders)
    own = values_of(context, "mlp_post_act")[1, :, 3]
    latents = values_of(context, "autoencoder_latent", config)
    component = ne.component(context, "L1N3", autoencoders=autoencoders)
    table = neighbours_by_activation(component, 5, NodeKind.LATENT, [2], iter(TEXTS), False)
    for row in table.itertuples():
        expected = np.corrcoef(own, latents[2, :, row.component])[0, 1]
        assert row.correlation == pytest.approx(expected, abs=1e-5)


def test_beginning_tokens_do_not_count():
    context = small_context("gpt2")
    component = ne.component(context, "L1N3", prepend_bos=True)
    table = neighbours_by_activation(component, 5, NodeKind.NEURON, [1], TEXTS, False)
    assert table.attrs["n_tokens"] == sum(len(text.split()) for text in TEXTS)


def test_stored_texts_and_what_is_missing():
    table = neighbours_by_activation(ne.component("tiny", "L2N5"), 2, NodeKind.NEURON, [2], None, False)
    assert "200" in table.attrs["texts"]
    with pytest.raises(NotAtHandError, match="texts="):
        neighbours_by_activation(ne.component(small_context("gpt2"), "L1N3"), 2, NodeKind.NEURON, None, None, False)
    with pytest.raises(InvalidRequestError, match="pair"):
        neighbours_by_activation(ne.component("tiny", "L0H1"), 2, NodeKind.NEURON, None, TEXTS, False)
