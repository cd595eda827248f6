"""Stores: differences, means, and only some scalars, layers or tokens."""

import pytest
import torch

from helpers.derived_scalars import close, context, logit_difference
from neuron_explainer.activations.derived_scalars import DerivedScalarIndex, DerivedScalarStore, DstConfig, derive_batch
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, NotDerivedError
from neuron_explainer.models.layers.routed import RoutedTensor
from neuron_explainer.vocabulary.nodes import PassType

PROMPTS = [[5, 17, 3, 44], [5, 8, 7, 6], [5, 17, 3, 60]]
DSTS = [D.ATTN_QK_LOGITS, D.ATTN_WRITE_NORM, D.MLP_POST_ACT, D.MLP_ACT_TIMES_GRAD, D.TOKEN_ATTRIBUTION]


def stores(family="gpt2", dsts=DSTS, prompts=PROMPTS):
    config = DstConfig(model_context=context(family), derive_gradients=True)
    return derive_batch(prompts, dsts, config, loss=logit_difference)


def dense_of(store):
    return {
        (dst, pass_type, layer): store.activations(dst, pass_type)[layer]
        for dst, pass_type, layers in store.contents()
        for layer in layers
    }


def check(store, expected):
    found = dense_of(store)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        close(found[key], tensor, 1e-12)


def combined(several, function):
    """A function of the stacked tensors, where they are not masked."""
    stacked = {key: torch.stack([dense_of(store)[key] for store in several]) for key in dense_of(several[0])}
    return {key: function(of.masked_fill(of == -torch.inf, 0)).masked_fill((of == -torch.inf).all(0), -torch.inf)
            for key, of in stacked.items()}  # fmt: skip


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3_moe"])
def test_differences_and_means_are_those_of_every_number(family, tmp_path):
    one, other, third = stores(family)
    difference = one.difference(other)
    check(difference, combined([one, other], lambda of: of[0] - of[1]))
    assert difference.loss == one.loss - other.loss
    assert (difference.tokens, difference.token_ids) == (one.tokens, one.token_ids)
    mean = DerivedScalarStore.mean([one, other, third])
    check(mean, combined([one, other, third], lambda of: of.mean(0)))
    close(mean.loss, (one.loss + other.loss + third.loss) / 3)
    assert mean.tokens == ["t5", "…", "…", "…"]
    assert mean.token_ids is None
    assert mean.model_name == difference.model_name == one.model_name
    for store in (difference, mean, one.select([D.MLP_POST_ACT, D.TOKEN_ATTRIBUTION], [1, None])):
        store.save(tmp_path / "store")
        again = DerivedScalarStore.load(tmp_path / "store")
        check(again, dense_of(store))
        assert (again.tokens, again.loss) == (store.tokens, store.loss)
        assert again.topk(3, dsts="mlp_post_act", tokens=[1])[1] == store.topk(3, dsts="mlp_post_act", tokens=[1])[1]


def test_the_same_experts_stay_apart_and_other_ones_become_one_tensor():
    one, other, _ = stores("qwen3_moe", [D.MLP_POST_ACT])
    kept = one.difference(one).kept[D.MLP_POST_ACT, PassType.FORWARD][0]
    assert isinstance(kept, RoutedTensor)
    assert not kept.values.any()
    assert isinstance(one.difference(other).kept[D.MLP_POST_ACT, PassType.FORWARD][0], torch.Tensor)


def test_a_mean_of_one_is_itself_and_of_equal_prompts_keeps_their_tokens():
    one, _, _ = stores()
    mean = DerivedScalarStore.mean(iter([one, one]))
    check(mean, dense_of(one))
    assert (mean.tokens, mean.token_ids, mean.loss) == (one.tokens, one.token_ids, one.loss)


def test_stores_of_other_contents_are_refused_and_the_error_names_what_differs():
    one, other, _ = stores()
    (short,) = stores(prompts=[[5, 17]])
    gpt2, llama = stores(dsts=[D.MLP_POST_ACT])[0], stores("llama", [D.LOGITS])[0]
    for first, second, message in (
        (one, short, "has 4 tokens, the other store 2"),
        (one, other.select(pass_type="forward"), r"has the gradient of attn_qk_logits \(layers 0–2\), and the other"),
        (one.select(D.MLP_POST_ACT), other, "The other store has attn_qk_logits"),
        (one.select(layers=[0]), other.select(layers=[0, 2]), r"The other store has attn_qk_logits \(layers 2\)"),
        (one.sum_over("heads"), other, "differ in the axes that are summed: heads"),
        (gpt2, llama, "mlp_post_act"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            first.difference(second)
    with pytest.raises(InvalidRequestError, match="store 1 2"):
        DerivedScalarStore.mean([one, short])
    with pytest.raises(InvalidRequestError, match="at least one DerivedScalarStore"):
        DerivedScalarStore.mean([])
    wide = DerivedScalarStore({(D.MLP_POST_ACT, PassType.FORWARD): {0: torch.zeros(4, 5)}}, ["a"] * 4)
    narrow = DerivedScalarStore({(D.MLP_POST_ACT, PassType.FORWARD): {0: torch.zeros(4, 3)}}, ["a"] * 4)
    with pytest.raises(
        InvalidRequestError, match=r"shape \(4, 5\) in the first store, and \(4, 3\) in the other store"
    ):
        wide.difference(narrow)
    assert wide.difference(wide).loss is None


@pytest.mark.parametrize("family", ["gpt2", "qwen3_moe"])
@pytest.mark.parametrize("dst", [D.MLP_POST_ACT, D.ATTN_WRITE_NORM, D.ATTN_QK_LOGITS])
def test_numbers_of_some_tokens_alone(family, dst):
    store = stores(family)[0]
    every, every_index = store.topk(10**6, dsts=dst, layers=1)
    for tokens in (2, [3, 0], torch.tensor([1])):
        wanted = {int(tokens)} if isinstance(tokens, int) else {int(token) for token in tokens}
        values, indices = store.topk(10**6, dsts=dst, layers=1, tokens=tokens)

        def token_of(index):
            row = index.tensor_indices[0]
            if dst is not D.ATTN_WRITE_NORM:
                return row
            return next(token for token in range(4) if row < (token + 1) * (token + 2) // 2)

        expected = [
            (float(value), index)
            for value, index in zip(every, every_index, strict=True)
            if token_of(index) in wanted
        ]  # fmt: skip
        assert sorted(values.tolist()) == sorted(value for value, _ in expected)
        assert set(indices) == {index for _, index in expected}
        for value, index in zip(values[:20].tolist(), indices, strict=False):
            assert float(store[index]) == value
        table = store.to_dataframe(5, dsts=dst, tokens=tokens)
        assert set(table["token_index"]) <= wanted
    best = store.topk(1, dsts=dst, tokens=[3], largest=False)[1][0]
    assert isinstance(best, DerivedScalarIndex)


def test_tokens_that_are_not_there_are_refused():
    store = stores()[0]
    with pytest.raises(IndexOutOfRangeError, match="no token 4; tokens: 0–3"):
        store.topk(1, tokens=[0, 4])
    for tokens in ([], [-1], -1):
        with pytest.raises(InvalidRequestError, match="Give positions"):
            store.to_dataframe(tokens=tokens)
    with pytest.raises(InvalidRequestError, match="summed over the axis 'tokens'"):
        store.sum_over("tokens").topk(1, dsts=D.MLP_POST_ACT, tokens=1)
    assert store.sum_over("tokens").topk(1, dsts=D.ATTN_WRITE_NORM, tokens=1)


def test_some_scalars_and_layers_and_passes_are_selected():
    store = stores()[0]
    assert store.select("mlp_post_act", layers=1).contents() == [
        (D.MLP_POST_ACT, PassType.FORWARD, [1]),
        (D.MLP_POST_ACT, PassType.BACKWARD, [1]),
    ]
    assert store.select(layers=[None]).dsts == [D.TOKEN_ATTRIBUTION]
    gradients = store.select(pass_type="backward")
    assert {pass_type for _, pass_type, _ in gradients.contents()} == {PassType.BACKWARD}
    assert (gradients.loss, gradients.tokens) == (store.loss, store.tokens)
    assert store.select().contents() == store.contents()
    assert store.select(D.MLP_POST_ACT).kept[D.MLP_POST_ACT, PassType.FORWARD][0] is not None
    with pytest.raises(NotDerivedError, match="mlp_pre_act was not derived"):
        store.select(["mlp_post_act", "mlp_pre_act"])
    with pytest.raises(NotDerivedError, match="no layer 7"):
        store.select(layers=[0, 7])
    with pytest.raises(NotDerivedError, match="gradient"):
        store.select(D.TOKEN_ATTRIBUTION, pass_type="backward")
    with pytest.raises(InvalidRequestError, match="dsts is empty"):
        store.select([])
    with pytest.raises(InvalidRequestError, match="layers is empty"):
        store.select(layers=[])
