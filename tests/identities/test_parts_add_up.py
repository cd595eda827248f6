"""The parts of an answer sum to the metric: for every family, metric, kind of autoencoder, ablation and trace."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.derived_scalars import EACH_STRUCTURE, PROMPT, annotations_unchecked, autoencoders, context
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

TARGET, DISTRACTOR = "t7", "t11"


def assert_adds_up(why: Attribution, tolerance: float = 1e-9) -> None:
    parts = why.parts()["direct_effect"]
    largest = float(parts.abs().max())
    assert largest > 0
    assert abs(float(parts.sum()) - why.value) <= tolerance * largest
    assert abs(why.residue) <= tolerance * largest


def asked(family: str, dtype: torch.dtype = torch.float64, **options: Any) -> Attribution:
    return attribute(context(family, dtype), PROMPT, **{"target": TARGET, "distractor": DISTRACTOR, **options})


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes are checked in the first test, of every family."""
    with annotations_unchecked():
        yield


def squared(logits: Tensor) -> Tensor:
    return logits[-1, 7].square() - logits[2, 11]


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_parts_sum_to_the_metric(family: str) -> None:
    why = asked(family)
    assert_adds_up(why)
    assert_adds_up(asked(family, torch.float32), 1e-4)
    # The metric is that of the model's own logits, before a soft cap.
    logits = context(family).get_or_create_model()(torch.tensor([PROMPT]))[0, -1]
    assert abs(why.capped_value - float(logits[7] - logits[11])) < 1e-9
    # What heads, neurons and the embedding say one by one is what the parts say.
    by_part = why.parts().groupby("part")["direct_effect"].sum()
    assert abs(float(why.heads()["direct_effect"].sum()) - by_part["attention"]) < 1e-9
    assert abs(float(why.neurons(None)["direct_effect"].sum()) - by_part["MLP"]) < 1e-9


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_other_metrics(family: str) -> None:
    for options in (
        {"distractor": None},
        {"metric": "probs", "distractor": None},
        {"metric": "log_probability"},
        {"metric": squared, "target": None, "distractor": None},
        {"target": None, "distractor": None},
        {"positions": [1, 3]},
        {"target": ["t7", "t9"], "distractor": [[11, 3], [2]]},
    ):
        assert_adds_up(asked(family, **options), 1e-9)


_FEW = {"gpt2", "gptj", "gemma2"}
FEW = [
    each if each.values[0] in _FEW else pytest.param(*each.values, marks=pytest.mark.long) for each in EACH_STRUCTURE
]
"""A family with biases, one whose MLP is parallel to attention, one with norms after both; the others are long."""

PLACES = (
    D.MLP_POST_ACT,
    D.RESID_DELTA_MLP,
    D.RESID_DELTA_ATTN,
    D.ATTN_WEIGHTED_SUM_OF_VALUES,
    D.RESID_POST_ATTN,
    D.RESID_POST_MLP,
)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_autoencoders_stand_for_what_they_explain(family: str) -> None:
    for place in PLACES:
        if context(family).get_or_create_model().config.n_experts and place is D.MLP_POST_ACT:
            continue
        why = asked(family, autoencoders=autoencoders(family, place))
        assert_adds_up(why)
        assert abs(why.value - asked(family).value) < 1e-9
        assert float(why.latents(5)["direct_effect"].abs().max()) > 0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_after_ablations(family: str) -> None:
    why = asked(family)
    for nodes in (
        ["L1H0"],
        ["L1H1@5<-2"],
        ["L1N3", "L2N5@5"],
        ["L1MLP"],
        ["L1ATTN@5", "L2H0@5"],
        ["EMB@5"],
    ):
        less = why.ablate(*nodes)
        assert_adds_up(less)
        assert less.value != why.value
    assert_adds_up(why.ablate("L1MLP", "L1H0", value="mean", reference=[PROMPT, [3, 4, 5]]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_traces(family: str) -> None:
    why = asked(family)
    for through in ("q", "k", "qk", "v"):
        assert_adds_up(why.trace("L2H1@5<-3", through=through))
    neuron = why.neurons(None)
    own = neuron[neuron["layer"] == 2].iloc[0]["name"]
    assert_adds_up(why.trace(f"{own}@5"))
    assert_adds_up(why.trace("L1H1@5<-3", through="v", downstream="L2H1@5<-3"))


def test_config() -> None:
    assert_adds_up(attribute(DstConfig(model_context=context("gpt2")), PROMPT, TARGET))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", FEW)
def test_with_latents_overwritten(family: str) -> None:
    for place in PLACES:
        if context(family).get_or_create_model().config.n_experts and place is D.MLP_POST_ACT:
            continue
        why = asked(family, autoencoders=autoencoders(family, place))
        table = why.nodes(1, kinds="latent", layers=2)
        less = why.ablate(table)
        assert_adds_up(less)
        measured = why.verify(table)["measured"].iloc[0]
        assert abs(why.value - less.value - measured) < 1e-9
        assert abs(measured) > 1e-6
        checked = less.verify(less.nodes(3, "direct_effect", kinds="latent"), "direct")
        assert (checked["estimate"] - checked["measured"]).abs().max() < 1e-9
        assert_adds_up(less.trace("L2H1@5<-3", through="k"))


def test_a_trace_reads_what_an_autoencoder_passes_on() -> None:
    for place in (D.RESID_POST_ATTN, D.PREVIOUS_LAYER_RESID_POST_MLP):
        why = asked("gpt2", autoencoders=autoencoders("gpt2", place))
        node = "L2N5@5" if place is D.RESID_POST_ATTN else "L2H1@5<-5"
        up = why.trace(node)
        (latent,) = why.nodes(1, kinds="latent", layers=2, tokens=5)["name"]
        less = up.ablate(latent)
        assert_adds_up(less)
        assert abs(up.value - less.value) > 1e-6
        scalar = D.MLP_PRE_ACT if place is D.RESID_POST_ATTN else D.ATTN_QK_LOGITS
        store = derive(PROMPT, scalar, less.asked_setting.config, ablations=less.asked_setting.ablations)
        where = (5, 5) if place is D.RESID_POST_ATTN else (5, 5, 1)
        assert abs(float(store.activations(scalar)[2][where]) - less.value) < 1e-9
