"""The tables of many components at once are those of each alone, in every kind of family."""

import pandas as pd
import pytest

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from helpers.collation_models import model_context
from neuron_explainer.components.batches import with_tables as batches
from neuron_explainer.components.batches.with_tables import N_NEIGHBOURS, N_TOKENS, with_tables

DST = ne.DerivedScalarType
FAMILIES = ["gpt2", "llama", "gemma2", "olmo2", "granite", "mixtral", "gpt_oss", "cohere", "qwen2", "phi", "gptj"]


def assert_same(made, alone):
    pd.testing.assert_frame_equal(pd.DataFrame(made), pd.DataFrame(alone), rtol=1e-5, atol=1e-8)


def check(first, wanted, reads=True):
    """Each component's tables, made with those of others, beside its own."""
    made = list(with_tables(first, wanted))
    assert [each.index for each in made] == wanted
    for each in made:
        alone = ne.Component(each.name, each.dst, each.at_hand)
        assert_same(each.tables["writes"], alone.writes(N_TOKENS))
        assert_same(each.tables["neighbours by write"], alone.neighbours(N_NEIGHBOURS, "write"))
        assert_same(each.tables["reads"], alone.reads(N_TOKENS))
        if reads:
            assert_same(each.tables["neighbours by read"], alone.neighbours(N_NEIGHBOURS, "read"))
        assert each.writes(N_TOKENS) is each.tables["writes"]
        assert len(each.writes(3)) == 6  # asked otherwise, it is computed


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_in_blocks_are_as_each_alone(family, monkeypatch):
    context = model_context(family)
    monkeypatch.setattr(batches, "block_size", lambda first: 5)  # some blocks end within an expert
    n = context.n_neurons
    check(ne.component(context, "L1N0"), [0, 1, 2, 3, 4, 5, 6, 9, 30, 31, 32, 33, n - 2, n - 1])


@pytest.mark.parametrize("dst", [DST.RESID_POST_MLP, DST.RESID_DELTA_MLP, DST.MLP_POST_ACT])
def test_latents_in_blocks_are_as_each_alone(dst, monkeypatch):
    monkeypatch.setattr(batches, "block_size", lambda first: 4)
    context = model_context("gemma2")
    first = ne.component(context, "L1A0", autoencoders=random_autoencoders(context, dst, n_latents=12))
    check(first, list(range(1, 12)), reads=dst is DST.RESID_POST_MLP)


def test_what_has_no_tables_says_why_itself():
    without_model = next(iter(with_tables(ne.component("gpt2-small", "L5N131"), [131])))
    with pytest.raises(ne.errors.NotAtHandError, match=r"L5N131\.writes"):
        without_model.writes(N_TOKENS)
    head = next(iter(with_tables(ne.component("tiny", "L1H0"), [1])))
    assert not head.tables
    assert_same(head.writes(2), ne.component("tiny", "L1H1").writes(2))
