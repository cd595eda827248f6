"""What an answer leads to: nodes overwritten, questions upstream of a node, two prompts side by side."""

from typing import Any

import pandas
import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, PROMPT, TARGET, autoencoders, context, slope
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex, NodeIndex
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MisconfiguredError,
    NodeNameError,
    PromptError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

OTHER = [9, 4, 33, 2, 8, 51]


def asked(family: str, prompt: Any = PROMPT, **options: Any) -> Attribution:
    return attribute(context(family), prompt, TARGET, DISTRACTOR, **options)


def edited(family: str, *edits: tuple[str, int | None, Any]) -> float:
    """The logit difference with places edited by hand: each edit writes into a copy of a place's tensor."""
    model = context(family).get_or_create_model()
    interventions = []
    for place, layer, write in edits:

        def overwrite(tensor: Tensor, write: Any = write) -> Tensor:
            tensor = tensor.clone()
            write(tensor)
            return tensor

        interventions.append(model.intervene(place, layer, overwrite, notes_change=False))
    for each in interventions:
        each.__enter__()
    try:
        logits = model(torch.tensor([PROMPT]))[0, -1]
    finally:
        for each in reversed(interventions):
            each.__exit__(None, None, None)
    return float(logits[TARGET] - logits[DISTRACTOR])


def setting(index: Any, value: Any) -> Any:
    return lambda tensor: tensor.__setitem__((0, *index) if isinstance(index, tuple) else (0, index), value)


ALL = slice(None)
EDITS: dict[str, tuple[str, int | None, Any]] = {
    "L1H0": ("attn.v_out", 1, setting((ALL, 0), 0.0)),
    "L1H0@3": ("attn.v_out", 1, setting((3, 0), 0.0)),
    "L1H0@5<-2": ("attn.qk_probs", 1, setting((5, 2, 0), 0.0)),
    "L1H0<-2": ("attn.qk_probs", 1, setting((ALL, 2, 0), 0.0)),
    "L1N3": ("mlp.post_act", 1, setting((ALL, 3), 0.0)),
    "L1N3@-1": ("mlp.post_act", 1, setting((5, 3), 0.0)),
    "l1n3@'t44'": ("mlp.post_act", 1, setting((3, 3), 0.0)),
    "L1MLP": ("resid.delta_mlp", 1, setting(ALL, 0.0)),
    "L1MLP@5": ("resid.delta_mlp", 1, setting(5, 0.0)),
    "L1ATTN": ("resid.delta_attn", 1, setting(ALL, 0.0)),
    "L1ATTN@2": ("resid.delta_attn", 1, setting(2, 0.0)),
    "EMB@5": ("resid.post_emb", None, setting(5, 0.0)),
}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_names_are_what_one_would_edit_by_hand(family: str) -> None:
    why = asked(family)
    for name, edit in EDITS.items():
        less = why.ablate(name)
        assert less.value == pytest.approx(edited(family, edit), rel=1e-9, abs=1e-9), name
        assert less.value != why.value
        assert less.ablated, name


def test_an_attention_weight_is_set_after_the_softmax_and_the_row_is_kept() -> None:
    why = asked("gpt2")
    less = why.ablate("L1H0@5<-2", value=0.9)
    before, after = (each.store.activations(D.ATTN_QK_PROBS)[1][5, :, 0] for each in (why, less))
    assert float(after[2]) == 0.9
    others = [0, 1, 3, 4, 5]
    assert after[others].tolist() == before[others].tolist()
    assert float(after.sum()) == pytest.approx(1.0 - float(before[2]) + 0.9)
    expected = edited("gpt2", ("attn.qk_probs", 1, setting((5, 2, 0), 0.9)))
    assert less.value == pytest.approx(expected, rel=1e-9)


def test_values() -> None:
    why = asked("llama")
    model = context("llama").get_or_create_model()
    with model.record(["attn.v_out", "mlp.post_act"]) as recording:
        model(torch.tensor([OTHER]))
    of_head, of_neuron = recording["attn.v_out", 1][0, :, 2], recording["mlp.post_act", 2][0, :, 7]
    for value in (OTHER, torch.tensor(OTHER), tuple(OTHER)):
        less = why.ablate("L1H2", value=value)
        expected = edited("llama", ("attn.v_out", 1, setting((ALL, 2), of_head)))
        assert less.value == pytest.approx(expected, rel=1e-9)
    expected = edited("llama", ("mlp.post_act", 2, setting((ALL, 7), of_neuron)))
    assert why.ablate("L2N7", value=OTHER).value == pytest.approx(expected, rel=1e-9)
    assert why.ablate("L2N7", value=of_neuron).value == pytest.approx(expected, rel=1e-9)
    assert why.ablate("L2N7@5", value=2).value == pytest.approx(
        edited("llama", ("mlp.post_act", 2, setting((5, 7), 2.0))), rel=1e-9
    )
    reference = [[3, 4, 5, 6], [40, 41]]
    means = []
    for text in reference:
        with model.record(["attn.v_out"]) as recording:
            model(torch.tensor([text]))
        means.append(recording["attn.v_out", 1][0, :, 2])
    mean = torch.cat(means).mean(0)
    less = why.ablate("L1H2", value="mean", reference=reference)
    expected = edited("llama", ("attn.v_out", 1, setting((ALL, 2), mean)))
    assert less.value == pytest.approx(expected, rel=1e-9)
    assert "mean over the reference texts" in less.ablated[0]
    with pytest.raises(PromptError, match="3 tokens"):
        why.ablate("L1H2", value=[1, 2, 3])
    with pytest.raises(InvalidRequestError, match="writes a vector"):
        why.ablate("L1H2", value=1.5)


def test_rows_and_tables_of_nodes() -> None:
    why = asked("gpt2")
    table = why.nodes(3, kinds=["head", "neuron"])
    expected = why.ablate(*table["name"]).value
    assert why.ablate(table).value == expected
    assert why.ablate(list(table.index)).value == expected
    assert why.ablate(*[row for _, row in table.iterrows()]).value == expected
    assert why.ablate(table["name"]).value == expected
    assert why.ablate(*table.index).value == expected
    spec = AblationSpec(ActivationIndex("mlp.post_act", 1, ("All", 3)), 0.0)
    assert why.ablate(spec).value == why.ablate("L1N3").value
    heads = why.heads(2)
    assert why.ablate(heads).value == why.ablate(*heads["name"]).value
    assert attribute(context("gpt2"), PROMPT, TARGET, DISTRACTOR, ablations=spec).value == why.ablate("L1N3").value


def test_chains_keep_their_history() -> None:
    why = asked("gpt2")
    first = why.ablate("L0H1")
    second = first.ablate("L1N3@5", "L2MLP")
    assert second.value == pytest.approx(why.ablate("L0H1", "L1N3@5", "L2MLP").value, rel=1e-12)
    assert second.value == pytest.approx(
        edited(
            "gpt2",
            ("attn.v_out", 0, setting((ALL, 1), 0.0)),
            EDITS["L1N3@-1"],
            ("resid.delta_mlp", 2, setting(ALL, 0.0)),
        ),
        rel=1e-9,
    )
    assert [step.value for step in second.history] == [why.value, first.value]
    assert len(second.ablated) == 3
    up = second.trace("L1H1@5<-2", through="q")
    assert [step.value for step in up.history] == [why.value, first.value, second.value]
    step = up.history[0]
    assert step.request == why.inquiry.request
    pandas.testing.assert_frame_equal(pandas.DataFrame(step.nodes), pandas.DataFrame(why.nodes()))
    pandas.testing.assert_frame_equal(pandas.DataFrame(step.parts), pandas.DataFrame(why.parts()))
    assert not hasattr(step, "store")
    # A later ablation of the same place is what holds.
    again = first.ablate("L0H1", value=OTHER)
    assert again.value == pytest.approx(why.ablate("L0H1", value=OTHER).value, rel=1e-12)


# Traces


def test_without_a_token_the_one_with_the_largest_effect() -> None:
    why = asked("llama")
    totals = why.store.activations(D.UNFLATTENED_ATTN_ACT_TIMES_GRAD)[1][..., 2]
    to = totals.abs().argmax()
    token, attended_to = int(to) // len(PROMPT), int(to) % len(PROMPT)
    up = why.trace("L1H2", through="k")
    assert up.inquiry.request["trace"] == f"L1H2@{token}<-{attended_to}"
    assert f"L1H2@{token}" in up.inquiry.title
    at_three = int(totals[3].abs().argmax())
    assert why.trace("L1H2@3", through="k").inquiry.request["trace"] == f"L1H2@3<-{at_three}"
    to_one = int(totals[:, 1].abs().argmax())
    assert why.trace("L1H2<-1", through="k").inquiry.request["trace"] == f"L1H2@{to_one}<-1"
    of_neuron = why.store.activations(D.MLP_ACT_TIMES_GRAD)[1][:, 4]
    assert why.trace("L1N4").inquiry.request["trace"] == f"L1N4@{int(of_neuron.abs().argmax())}"
    row = why.nodes(1, kinds="head").iloc[0]
    assert why.trace(row).inquiry.request["trace"] == row["name"]
    assert why.trace(row.name).inquiry.request["trace"] == row["name"]


TRACED = ["gpt2", "llama", "gemma2", "gptj", "qwen3", "olmo2", "cohere"]


@pytest.mark.parametrize("family", TRACED)
def test_values_of_traces_are_the_recorded_activations(family: str) -> None:
    model = context(family).get_or_create_model()
    why = asked(family)
    with model.record(["attn.qk_logits", "mlp.pre_act", "attn.v", "attn.qk_probs", "resid.delta_attn"]) as recording:
        model(torch.tensor([PROMPT]))
    logit = float(recording["attn.qk_logits", 2][0, 5, 3, 1])
    for through in ("q", "k", "qk"):
        up = why.trace("L2H1@5<-3", through=through)
        assert up.capped_value == pytest.approx(logit, rel=1e-9)
        if family == "gemma2":
            cap = model.blocks[2].attention.softcap
            assert cap is not None
            assert up.value != up.capped_value
            assert cap * torch.tanh(torch.tensor(up.value / cap, dtype=torch.float64)) == pytest.approx(logit)
        else:
            assert up.value == up.capped_value
    neuron = why.trace("L1N4@5")
    assert neuron.value == pytest.approx(float(recording["mlp.pre_act", 1][0, 5, 4]), rel=1e-9)


@pytest.mark.parametrize("family", TRACED)
def test_a_write_through_v_is_the_heads_direct_effect(family: str) -> None:
    """Projected on what the metric reads, value biases within it."""
    why = asked(family)
    direct = why.nodes(1, "direct_effect", kinds="head").iloc[0]
    up = why.trace(direct, through="v")
    assert up.value == pytest.approx(float(direct["direct_effect"]), rel=1e-9)


@pytest.mark.parametrize("place", [D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN, D.RESID_POST_MLP, D.MLP_POST_ACT])
def test_values_of_traces_of_latents(place: D) -> None:
    for family in ("gpt2", "llama"):
        own = autoencoders(family, place)
        why = asked(family, autoencoders=own)
        (node,) = why.nodes(1, kinds="latent", layers=1).index
        up = why.trace(node)
        token, latent = node.tensor_indices
        inputs = derive(PROMPT, place, context(family)).activations(place)[1][token].flatten()
        pre_acts = own.get_autoencoder(1).pre_activations(inputs)
        assert up.value == pytest.approx(float(pre_acts[latent]), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "through", "place", "where"),
    [
        ("L2H1@5<-3", "qk", "attn.qk_logits", (5, 3, 1)),
        ("L2H1@5<-3", "q", "attn.q", (5, 1)),
        ("L2H1@5<-3", "k", "attn.k", (3, 1)),
        ("L2N4@5", None, "mlp.pre_act", (5, 4)),
    ],
)
def test_total_effects_of_traces_are_slopes(name: str, through: Any, place: str, where: Any) -> None:
    family = "llama"
    up = asked(family).trace(name, through=through)
    model = context(family).get_or_create_model()
    with model.record(["attn.q", "attn.k"]) as plain:
        model(torch.tensor([PROMPT]))
    held = {"q": plain["attn.k", 2][0, 3, 1], "k": plain["attn.q", 2][0, 5, 1]}
    compared = 0
    for kind, of_kind in (("head", "attn.qk_probs"), ("neuron", "mlp.post_act")):
        for node, row in up.nodes(2, kinds=kind).iterrows():
            assert isinstance(node, NodeIndex)
            index = ActivationIndex(of_kind, node.layer_index, node.tensor_indices)
            at = float(row["activation"])

            def value_at(new: float, index: ActivationIndex = index) -> float:
                def overwrite(tensor: Tensor) -> Tensor:
                    tensor = tensor.clone()
                    tensor[(0, *index.slices)] = new
                    return tensor

                with (
                    model.intervene(index.activation_location_type, index.layer_index, overwrite, notes_change=False),
                    model.record([(place, 2)]) as recording,
                ):
                    model(torch.tensor([PROMPT]))
                found = recording[place, 2][(0, *where)]
                return float(found @ held[through]) if through in held else float(found)

            assert value_at(at) == pytest.approx(up.value, rel=1e-9)
            assert row["total_effect"] == pytest.approx(at * slope(value_at, at), rel=1e-6, abs=1e-9)
            compared += 1
    assert compared == 4


def test_traces_that_cannot_be() -> None:
    why = asked("gpt2")
    for node, options, error, words in (
        ("L2MLP", {}, InvalidRequestError, "no activation to trace"),
        ("L9H0", {}, InvalidRequestError, "no layer 9"),
        ("L1H9", {}, InvalidRequestError, "0 to 3"),
        ("L1N9999", {}, InvalidRequestError, "Choose 0 to"),
        ("L1H0@2<-4", {}, InvalidRequestError, "cannot attend to the later token"),
        ("L1H0@9<-4", {}, IndexOutOfRangeError, "9"),
        ("L1N1", {"through": "q"}, InvalidRequestError, "not a head"),
        ("L1H0", {"downstream": "L2N1"}, InvalidRequestError, "through"),
        ("L2H0@5<-1", {"through": "v", "downstream": "L1N1@5"}, InvalidRequestError, "not downstream"),
        ("L1A3", {}, InvalidRequestError, "without autoencoders"),
        ("1:3", {}, NodeNameError, "L1H3"),
        ("L2H0@3<-1", {"through": "v"}, InvalidRequestError, "reads the residual stream at 5 alone"),
    ):
        with pytest.raises(error, match=words):
            why.trace(node, **options)
    with pytest.raises(ne.errors.NeuronExplainerError, match="x"):
        why.trace("L1H0", through="x")


def test_rows_of_answers_are_traced_in_their_own_pass() -> None:
    why = attribute(context("llama"), PROMPT, [[7, 8]], [[3, 4, 5]])
    model = context("llama").get_or_create_model()
    table = why.nodes(1000, kinds="neuron", tokens=6)
    for answer, tokens in (("t7t8", [*PROMPT, 7]), ("t3t4t5", [*PROMPT, 3, 4])):
        row = table[table["answer"] == answer].iloc[0]
        with model.record(["mlp.pre_act"]) as recording:
            model(torch.tensor([tokens]))
        node = row.name
        up = why.trace(row)
        expected = recording["mlp.pre_act", node.layer_index][(0, *node.tensor_indices)]
        assert up.value == pytest.approx(float(expected), rel=1e-9)
        assert up.history[0].value == why.value
        (verified,) = why.verify([row]).to_dict("records")
        assert verified["answer"] == answer
        assert verified["estimate"] == pytest.approx(row["total_effect"], rel=1e-9)


def test_mixtures_of_experts_name_the_experts_a_token_is_sent_to() -> None:
    why = attribute(context("mixtral"), PROMPT, TARGET, DISTRACTOR)
    model: Any = context("mixtral").get_or_create_model()
    d_expert = model.blocks[1].mlp.d_expert
    node = why.nodes(1, kinds="neuron", layers=1).index[0]
    token, neuron = node.tensor_indices
    up = why.trace(node)
    (row,) = why.verify([node]).to_dict("records")
    assert row["estimate"] != 0
    with model.record(["mlp.pre_act"]) as recording:
        model(torch.tensor([PROMPT]))
    assert up.value == pytest.approx(float(recording["mlp.pre_act", 1][0, token, neuron]), rel=1e-9)
    chosen = {int(each) for each in why.store.activations(D.MLP_POST_ACT)[1][token].nonzero().flatten() // d_expert}
    other = next(expert for expert in range(model.config.n_experts) if expert not in chosen)
    with pytest.raises(InvalidRequestError, match=f"belongs to expert {other}, and token {token} is sent to"):
        why.trace(f"L1N{other * d_expert}@{token}")


# Comparisons


def test_compare() -> None:
    why = asked("gpt2")
    both = why.compare(OTHER)
    second = asked("gpt2", OTHER)
    assert both.second.value == pytest.approx(second.value, rel=1e-12)
    assert both.difference == pytest.approx(why.value - second.value, rel=1e-12)
    for by in ("total_effect", "direct_effect", "activation", "write_norm"):
        table = both.nodes(20, by)
        numbers = ["activation", "write_norm", "direct_effect", "total_effect"]
        expected = ["name", "token_1", "token_2", "attended_to_1", "attended_to_2"]
        expected += [f"{each}_{side}" for each in numbers for side in (1, 2)] + ["difference"]
        assert list(table.columns) == expected
        assert len(table) == 20
        assert table["difference"].abs().is_monotonic_decreasing
        shown = table.dropna(subset=[f"{by}_1", f"{by}_2"])
        difference = shown[f"{by}_1"] - shown[f"{by}_2"]
        assert shown["difference"].tolist() == pytest.approx(difference.tolist())
    # The largest difference of all is among them: every node of both answers, subtracted.
    own, others = (each.nodes(100_000)["total_effect"].to_dict() for each in (why, second))
    by_hand = {node: own.get(node, 0.0) - others.get(node, 0.0) for node in {**own, **others}}
    largest = sorted(by_hand.values(), key=abs, reverse=True)[:5]
    assert both.nodes(5)["difference"].tolist() == pytest.approx(largest, rel=1e-9)
    parts = both.parts()
    assert parts["difference"].sum() == pytest.approx(both.difference, rel=1e-9)
    assert parts["direct_effect_1"].sum() == pytest.approx(why.value, rel=1e-9)
    tokens = both.next_tokens(3)
    assert {TARGET, DISTRACTOR} <= set(tokens["token_id"])
    assert (tokens["logit_1"] - tokens["logit_2"]).tolist() == pytest.approx(tokens["difference"].tolist())
    with pytest.raises(PromptError, match="6 and 2 tokens"):
        why.compare([1, 2])
    with pytest.raises(PromptError, match="6 and 2 tokens"):
        why.compare(asked("gpt2", [1, 2]))


def test_comparisons_keep_ablations_and_metrics() -> None:
    less = asked("gpt2").ablate("L0H1")
    both = less.compare(OTHER)
    assert both.second.value == pytest.approx(asked("gpt2", OTHER).ablate("L0H1").value, rel=1e-12)
    for options in (
        {"metric": "probs", "target": [7, 8]},
        {"target": 7},
        {"metric": lambda logits: logits[-1, 3].square(), "target": None},
        {"target": 7, "positions": 2},
    ):
        first = attribute(context("gpt2"), PROMPT, **options)
        second = attribute(context("gpt2"), OTHER, **options)
        assert first.compare(OTHER).second.value == pytest.approx(second.value, rel=1e-12)
    several = attribute(context("gpt2"), PROMPT, [[7, 8]], [[3]])
    with pytest.raises(InvalidRequestError, match="single tokens"):
        several.compare(OTHER)
    with pytest.raises(InvalidRequestError, match="trace both prompts"):
        less.trace("L1N3").compare(OTHER)


def test_settings_that_cannot_be() -> None:
    config = DstConfig(model_context=context("gpt2"), layer_indices=[1])
    with pytest.raises(MisconfiguredError, match="layer_indices"):
        attribute(config, PROMPT, TARGET)
    with pytest.raises(InvalidRequestError, match="residual stream"):
        asked("gpt2").ablate("L1RESID@3")
    with pytest.raises(InvalidRequestError, match="at least one node"):
        asked("gpt2").ablate()
    with pytest.raises(InvalidRequestError, match="at least one node"):
        asked("gpt2").ablate([])


def test_what_a_trace_holds_stays_as_it_was() -> None:
    why = attribute(context("llama"), PROMPT, 7, 11)
    up = why.trace("L2H1@5<-3", through="q")
    before = up.verify(10)["measured"].tolist()
    less = up.ablate("L0H0", "L1N3")  # changes keys, too; the trace goes through the query
    after = up.verify(10)["measured"].tolist()
    assert after == before
    ablations = [ne.parse_node(name).to_ablation() for name in ("L0H0", "L1N3")]
    query = derive(PROMPT, D.ATTN_QUERY, context("llama"), ablations=ablations)
    key = derive(PROMPT, D.ATTN_KEY, context("llama"))
    logit = query.activations(D.ATTN_QUERY)[2][5, 1] @ key.activations(D.ATTN_KEY)[2][3, 1]
    assert less.value == pytest.approx(float(logit), abs=1e-10)
