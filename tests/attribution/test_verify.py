"""`verify`: what it measures, against the model edited by hand; its estimates, ranks and correlation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, EACH_STRUCTURE, PROMPT, TARGET, autoencoders, context
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex, NodeIndex
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.errors import InvalidRequestError, PromptError, UnknownNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import NodeType

OTHER = [9, 4, 33, 2, 8, 51]
PLACE = {
    NodeType.ATTENTION_HEAD: "attn.qk_probs",
    NodeType.MLP_NEURON: "mlp.post_act",
    NodeType.TOKEN: "resid.post_emb",
}


def asked(family: str, dtype: torch.dtype = torch.float64, **options: Any) -> Attribution:
    return attribute(context(family, dtype), PROMPT, **{"target": TARGET, "distractor": DISTRACTOR, **options})


def uncapped(family: str, logits: Tensor) -> Tensor:
    cap = context(family).get_or_create_model().config.logits_softcap
    return logits if cap is None else torch.atanh(logits / cap) * cap


def difference(family: str, logits: Tensor) -> float:
    last = uncapped(family, logits[0, -1])
    return float(last[TARGET] - last[DISTRACTOR])


def uncapped_difference(family: str, logits: Tensor) -> Tensor:
    last = uncapped(family, logits[-1])
    return last[TARGET] - last[DISTRACTOR]


def replaced(new: Any, old: Tensor) -> Any:
    return new


def numbers_of(node: NodeIndex) -> Any:
    """The index of the node's numbers in one prompt's tensor; an embedding is the whole vector at its token."""
    return node.slices if node.node_type is not NodeType.TOKEN else node.slices[:1]


def edited(family: str, node: NodeIndex, edit: Callable[[Tensor], Any]) -> float:
    """The metric when the node's numbers in the first prompt are replaced by what `edit` makes of them."""
    model = context(family).get_or_create_model()
    indices = numbers_of(node)

    def overwrite(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[(0, *indices)] = edit(tensor[(0, *indices)])
        return tensor

    with model.intervene(PLACE[node.node_type], node.layer_index, overwrite, notes_change=False):
        return difference(family, model(torch.tensor([PROMPT])))


def recorded(family: str, node: NodeIndex, prompt: list[int]) -> Tensor:
    model = context(family).get_or_create_model()
    place = PLACE[node.node_type]
    with model.record([(place, node.layer_index)]) as recording:
        model(torch.tensor([prompt]))
    return recording[place, node.layer_index][0]


def one_of_each(why: Attribution) -> list[NodeIndex]:
    return [why.nodes(1, kinds=kind).index[0] for kind in ("head", "neuron", "embedding")]


def gradient_of(family: str, node: NodeIndex) -> Tensor:
    """The metric's gradient with respect to the node's numbers."""
    model = context(family).get_or_create_model()
    place = PLACE[node.node_type]
    with model.record([(place, node.layer_index)], gradients=True) as recording:
        last = uncapped(family, model(torch.tensor([PROMPT]))[0, -1])
        recording.backward(last[TARGET] - last[DISTRACTOR])
    indices = numbers_of(node)
    return recording.gradient(place, node.layer_index)[(0, *indices)]


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_measured_is_the_model_edited_by_hand(family: str) -> None:
    why = asked(family)
    nodes = one_of_each(why)
    other = {node: recorded(family, node, OTHER) for node in nodes}
    for value in (0, OTHER):
        table = why.verify(nodes, value=value)
        assert list(table.index) == nodes
        for node, row in table.iterrows():
            assert isinstance(node, NodeIndex)
            new = 0.0 if value == 0 else _at(other[node], node)
            expected = why.value - edited(family, node, partial(replaced, new))
            assert row["measured"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
            activation = _at(recorded(family, node, PROMPT), node)
            guess = float(((activation - new) * gradient_of(family, node)).sum())
            assert row["estimate"] == pytest.approx(guess, rel=1e-9, abs=1e-9)


def _at(tensor: Tensor, node: NodeIndex) -> Tensor:
    return tensor[numbers_of(node)]


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_a_number_and_a_mean(family: str) -> None:
    why = asked(family)
    head, neuron, embedding = one_of_each(why)
    table = why.verify([head, neuron], value=0.75)
    for node, row in table.iterrows():
        assert isinstance(node, NodeIndex)
        expected = why.value - edited(family, node, lambda old: 0.75)
        assert row["measured"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    reference = [[3, 4, 5, 6], [40, 41, 2]]
    table = why.verify([neuron, embedding], value="mean", reference=reference)
    for node, row in table.iterrows():
        assert isinstance(node, NodeIndex)
        by_token = torch.cat([recorded(family, node, text) for text in reference])
        mean = by_token.mean(0) if node.node_type is NodeType.TOKEN else by_token.mean(0)[node.slices[1]]
        expected = why.value - edited(family, node, partial(replaced, mean))
        assert row["measured"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
        activation = _at(recorded(family, node, PROMPT), node)
        guess = float(((activation - mean) * gradient_of(family, node)).sum())
        assert row["estimate"] == pytest.approx(guess, rel=1e-9, abs=1e-9)


def test_of_so_many_nodes_those_that_can_be_given_the_value() -> None:
    """Weights of pairs have no mean, and an embedding is no number."""
    why = asked("gpt2")
    assert len(why.verify(12)) == 12
    assert {node.node_type for node in why.verify(12).index} >= {NodeType.TOKEN, NodeType.ATTENTION_HEAD}
    numbers = why.verify(12, value=0.5)
    assert len(numbers) == 12
    assert NodeType.TOKEN not in {node.node_type for node in numbers.index}
    assert NodeType.ATTENTION_HEAD in {node.node_type for node in numbers.index}
    means = why.verify(12, value="mean", reference=[[3, 4, 5]])
    assert len(means) == 12
    assert NodeType.ATTENTION_HEAD not in {node.node_type for node in means.index}
    assert list(why.verify(5).index) == list(why.nodes(5).index)
    assert list(why.verify(5, "direct").index) == list(why.nodes(5, "direct_effect").index)


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_direct_effects_are_what_taking_out_a_write_changes(family: str) -> None:
    for dtype, allowed in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        why = asked(family, dtype)
        table = why.verify(4, "direct")
        largest = float(table["estimate"].abs().max())
        assert largest > 0
        assert float((table["estimate"] - table["measured"]).abs().max()) <= allowed * largest
        expected = why.nodes(4, "direct_effect")
        assert table["estimate"].tolist() == pytest.approx(expected["direct_effect"].tolist(), rel=1e-6)
    assert table.attrs["spearman"] == pytest.approx(1.0)


@pytest.mark.parametrize("place", [D.MLP_POST_ACT, D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN, D.RESID_POST_ATTN])
def test_latents(place: D) -> None:
    for family in ("gpt2", "gemma2"):
        own = autoencoders(family, place)
        why = asked(family, autoencoders=own)
        rows = why.nodes(3, kinds="latent")
        total = why.verify(rows)
        assert total["name"].tolist() == rows["name"].tolist()
        assert total["estimate"].tolist() == pytest.approx(rows["total_effect"].tolist(), rel=1e-9)
        for node, row in total.iterrows():
            assert isinstance(node, NodeIndex)
            index = ActivationIndex("online_autoencoder_latent", node.layer_index, node.tensor_indices)
            config = ne.DstConfig(model_context=context(family), autoencoder_context=own)
            store = ne.derive(
                PROMPT,
                D.LOGITS,
                config,
                loss=partial(uncapped_difference, family),
                ablations=ne.AblationSpec(index, 0.0),
            )
            assert store.loss is not None
            assert row["measured"] == pytest.approx(why.value - store.loss, rel=1e-9, abs=1e-9)
        direct = why.verify(why.nodes(3, "direct_effect", kinds="latent"), "direct")
        assert direct["measured"].tolist() == pytest.approx(direct["estimate"].tolist(), rel=1e-9)
        assert direct["estimate"].abs().min() > 0


def test_ranks_and_spearman() -> None:
    scipy = pytest.importorskip("scipy.stats")
    table = asked("gpt2").verify(15)
    for column in ("estimate", "measured"):
        ranks = scipy.rankdata(-table[column])
        assert table[f"{column}_rank"].tolist() == ranks.tolist()
    expected = scipy.spearmanr(table["estimate"], table["measured"]).statistic
    assert table.attrs["spearman"] == pytest.approx(float(expected))
    one = asked("gpt2").verify(1)
    assert len(one) == 1
    assert one.attrs["spearman"] != one.attrs["spearman"]  # NaN: one number has no ranks
    tied = asked("gpt2").verify(["L1N3@5", "L1N3@5", "L2N4@5"])
    assert len(tied) == 3
    assert tied["estimate_rank"].tolist()[:2] in ([1.5, 1.5], [2.5, 2.5])


def test_after_ablations_the_ablated_model_is_where_it_starts_from() -> None:
    why = asked("llama").ablate("L0H1", "L1N3")
    node = why.nodes(1, kinds="neuron").index[0]
    model = context("llama").get_or_create_model()

    def without_head(summed: Tensor) -> Tensor:
        summed = summed.clone()
        summed[:, :, 1] = 0
        return summed

    def without_neuron(neurons: Tensor) -> Tensor:
        neurons = neurons.clone()
        neurons[..., 3] = 0
        return neurons

    with (
        model.intervene("attn.v_out", 0, without_head),
        model.intervene("mlp.post_act", 1, without_neuron),
    ):
        before = difference("llama", model(torch.tensor([PROMPT])))
        after = edited("llama", node, lambda old: 0.0)
    assert why.value == pytest.approx(before, rel=1e-9)
    (row,) = why.verify([node]).to_dict("records")
    assert row["measured"] == pytest.approx(before - after, rel=1e-9)
    assert why.verify(5, "direct")["measured"].tolist() == pytest.approx(
        why.verify(5, "direct")["estimate"].tolist(), rel=1e-9
    )


def test_traces() -> None:
    why = asked("llama").trace("L2N5@5")
    node = why.nodes(1, kinds="head").index[0]
    model = context("llama").get_or_create_model()

    def pre_act(edit: Any) -> float:
        def overwrite(probs: Tensor) -> Tensor:
            probs = probs.clone()
            probs[(0, *node.slices)] = edit(probs[(0, *node.slices)])
            return probs

        with (
            model.intervene("attn.qk_probs", node.layer_index, overwrite, notes_change=False),
            model.record("mlp.pre_act") as recording,
        ):
            model(torch.tensor([PROMPT]))
        return float(recording["mlp.pre_act", 2][0, 5, 5])

    (row,) = why.verify([node]).to_dict("records")
    assert why.value == pytest.approx(pre_act(lambda old: old), rel=1e-9)
    assert row["measured"] == pytest.approx(why.value - pre_act(lambda old: 0.0), rel=1e-9)
    with pytest.raises(InvalidRequestError, match='Of a trace, verify kind="total"'):
        why.verify(3, "direct")


def test_answers_of_several_tokens() -> None:
    why = asked("gpt2", target=[[7, 8]], distractor=[[11]])
    table = why.verify(8)
    assert list(table.columns[:2]) == ["answer", "name"]
    assert set(table["answer"]) == {"t7t8", "t11"}
    model = context("gpt2").get_or_create_model()
    for node, row in table.iterrows():
        assert isinstance(node, NodeIndex)
        answer, sign = ([7, 8], 1) if row["answer"] == "t7t8" else ([11], -1)
        tokens = torch.tensor([PROMPT + answer[:-1]])

        def score(edit: Any, node: NodeIndex = node, answer: list[int] = answer, tokens: Tensor = tokens) -> float:
            indices = numbers_of(node)

            def overwrite(tensor: Tensor) -> Tensor:
                tensor = tensor.clone()
                tensor[(0, *indices)] = edit(tensor[(0, *indices)])
                return tensor

            with model.intervene(PLACE[node.node_type], node.layer_index, overwrite, notes_change=False):
                logs = model(tokens)[0].log_softmax(-1)
            return float(sum(logs[len(PROMPT) - 1 + number, token] for number, token in enumerate(answer)))

        change = sign * (score(lambda old: old) - score(lambda old: 0.0))
        assert row["measured"] == pytest.approx(change, rel=1e-9, abs=1e-12)
    direct = why.verify(6, "direct")
    assert direct["measured"].tolist() == pytest.approx(direct["estimate"].tolist(), rel=1e-9)
    # A table of nodes says in whose pass each is.
    again = why.verify(why.nodes(8))
    assert again["answer"].tolist() == table["answer"].tolist()
    assert again["measured"].tolist() == table["measured"].tolist()


def test_wrong_arguments() -> None:
    why = asked("gpt2")
    for given, error, words in (
        ((0,), InvalidRequestError, "n"),
        ((-1,), InvalidRequestError, "n"),
        ((2.5,), InvalidRequestError, "n"),
        ((3, "totl"), UnknownNameError, "total"),
        ((["L1N3"],), InvalidRequestError, "names several nodes"),
    ):
        with pytest.raises(error, match=words):
            why.verify(*given)
    with pytest.raises(PromptError):
        why.verify(3, value=[1, 2])
    with pytest.raises(InvalidRequestError, match="reference is for"):
        why.verify(3, reference="Some text")
