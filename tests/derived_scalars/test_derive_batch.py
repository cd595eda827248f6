"""Many prompts in one padded pass give what each gives alone."""

import pytest
import torch

from helpers.derived_scalars import autoencoders, close, context, logit_difference
from helpers.tiny_models import ONE_OF_EACH_FAMILY
from neuron_explainer.activations.derived_scalars import (
    BatchDeriver,
    DstConfig,
    LossFnConfig,
    derive,
    derive_batch,
)
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.errors import MisconfiguredError, PromptError
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

PROMPTS = [[5, 17, 3, 44, 17, 20], [9, 8, 7, 6], [1, 2, 3, 4, 5, 6, 7, 8, 60], [11, 12, 13]]
DSTS = [
    D.LOGITS,
    D.ALWAYS_ONE,
    D.ATTN_QK_PROBS,
    D.ATTN_WRITE_NORM,
    D.ATTN_ACT_TIMES_GRAD,
    D.ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD_PER_SEQUENCE_TOKEN,
    D.MLP_WRITE_NORM,
    D.MLP_ACT_TIMES_GRAD,
    D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.TOKEN_ATTRIBUTION,
    D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD,
]


def check_same(batch, singles):
    for together, alone in zip(batch, singles, strict=True):
        assert together.tokens == alone.tokens
        assert (together.loss is None) == (alone.loss is None)
        if alone.loss is not None:
            close(together.loss, alone.loss)
        if alone.traced_activation is not None:
            close(together.traced_activation, alone.traced_activation)
        assert together.contents() == alone.contents()
        for dst, pass_type, _ in alone.contents():
            for layer, tensor in alone.activations(dst, pass_type).items():
                close(together.activations(dst, pass_type)[layer], tensor)


@pytest.mark.parametrize(
    "loss", [logit_difference, LossFnConfig("probs", ["t7"]), LossFnConfig("logit_diff", ["t7"], ["t11"])]
)
@pytest.mark.parametrize("family", ONE_OF_EACH_FAMILY)
def test_a_batch_is_the_same_as_one_by_one(family, loss):
    config = DstConfig(
        model_context=context(family),
        derive_gradients=True,
        autoencoder_context=autoencoders(family, D.MLP_POST_ACT),
    )
    batch = derive_batch(PROMPTS, DSTS, config, loss=loss)
    check_same(batch, [derive(prompt, DSTS, config, loss=loss) for prompt in PROMPTS])


@pytest.mark.parametrize("family", ONE_OF_EACH_FAMILY)
@pytest.mark.parametrize(
    "trace",
    [
        TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, (2, 5)), PreOrPostAct.PRE),
        TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, ("All", 5)), PreOrPostAct.POST),
        TraceConfig(NodeIndex(NodeType.ATTENTION_HEAD, 1, (2, 1, 3)), PreOrPostAct.POST, True, AttentionTraceType.V),
    ],
    ids=["neuron", "neuron at all tokens", "value"],
)
def test_traces_in_a_batch(family, trace):
    config = DstConfig(model_context=context(family), trace_config=trace)
    dsts = [D.TOKEN_ATTRIBUTION, D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD, D.UNFLATTENED_ATTN_ACT_TIMES_GRAD]
    batch = derive_batch(PROMPTS, dsts, config, loss=logit_difference)
    check_same(batch, [derive(prompt, dsts, config, loss=logit_difference) for prompt in PROMPTS])


def test_ablations_and_nodes_are_in_every_prompt():
    config = DstConfig(
        model_context=context("llama"), node_index_for_attribution=NodeIndex(NodeType.MLP_NEURON, 1, (2, 5))
    )
    dsts = [D.SINGLE_NODE_WRITE, D.MLP_IN_EDGE_ATTRIBUTION, D.ATTN_OUT_EDGE_ATTRIBUTION, D.ATTN_KEY_IN_EDGE_ATTRIBUTION]
    ablations = [
        AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 0, (1, "All")), 0.0),
        AblationSpec(ActivationIndex(Place.ATTN_QK_PROBS, 2, (2, 0, 0), PassType.BACKWARD), 1.0),
    ]
    batch = derive_batch(PROMPTS, dsts, config, loss=logit_difference, ablations=ablations)
    check_same(batch, [derive(prompt, dsts, config, loss=logit_difference, ablations=ablations) for prompt in PROMPTS])


def test_prompts_of_one_length_need_no_padding_and_results_are_their_own():
    config = DstConfig(model_context=context("gpt2"))
    batch = derive_batch([[1, 2, 3], [4, 5, 6]], D.MLP_POST_ACT, config)
    first, second = (store.activations(D.MLP_POST_ACT)[0] for store in batch)
    assert first.untyped_storage().nbytes() == first.numel() * first.element_size()
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()


def test_texts_and_ids_can_stand_together():
    config = DstConfig(model_context=context("gpt2"))
    by_text, by_id, by_tensor = derive_batch(["t1 t2 t3", [1, 2, 3], torch.tensor([1, 2, 3])], D.MLP_POST_ACT, config)
    assert by_text.tokens == by_id.tokens == ["t1", "t2", "t3"]
    for other in (by_id, by_tensor):
        close(by_text.activations(D.MLP_POST_ACT)[2], other.activations(D.MLP_POST_ACT)[2])


def test_no_prompts_give_no_results_and_one_text_is_not_several():
    config = DstConfig(model_context=context("gpt2"))
    assert derive_batch([], D.MLP_POST_ACT, config) == []
    with pytest.raises(PromptError, match="derive"):
        derive_batch("t1 t2", D.MLP_POST_ACT, config)


def test_types_can_bring_configurations_of_their_own():
    model = context("gpt2")
    pairs = [
        (D.MLP_POST_ACT, DstConfig(model_context=model, layer_indices=[0])),
        (D.MLP_WRITE_NORM, DstConfig(model_context=model, layer_indices=[2, 1])),
    ]
    store = derive(PROMPTS[0], pairs)
    assert list(store.activations(D.MLP_POST_ACT)) == [0]
    assert list(store.activations(D.MLP_WRITE_NORM)) == [1, 2]
    alone = derive(PROMPTS[0], D.MLP_WRITE_NORM, DstConfig(model_context=model))
    close(store.activations(D.MLP_WRITE_NORM)[2], alone.activations(D.MLP_WRITE_NORM)[2])
    mixed = derive(PROMPTS[0], [pairs[0], D.LOGITS], DstConfig(model_context=model))
    assert list(mixed.activations(D.LOGITS)) == [None]


def test_configurations_that_contradict_each_other_are_refused():
    model = context("gpt2")
    one, other = DstConfig(model_context=model, layer_indices=[0]), DstConfig(model_context=model)
    with pytest.raises(MisconfiguredError, match="two configurations"):
        derive(PROMPTS[0], [(D.MLP_POST_ACT, one), (D.MLP_POST_ACT, other)])
    with pytest.raises(MisconfiguredError, match="same model"):
        derive(PROMPTS[0], [(D.MLP_POST_ACT, one), (D.MLP_WRITE_NORM, DstConfig(model_context=context("llama")))])
    traces = [
        DstConfig(model_context=model, trace_config=TraceConfig(NodeIndex(NodeType.MLP_NEURON, 2, (2, n)), "pre"))
        for n in (3, 4)
    ]
    with pytest.raises(MisconfiguredError, match="differentiates only one"):
        derive(PROMPTS[0], [(D.MLP_ACT_TIMES_GRAD, traces[0]), (D.TOKEN_ATTRIBUTION, traces[1])])


@pytest.mark.parametrize("family", ONE_OF_EACH_FAMILY)
def test_the_batch_deriver_gives_padded_tensors(family):
    longest = max(map(len, PROMPTS))
    tokens = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in PROMPTS])
    mask = torch.tensor([[position < len(prompt) for position in range(longest)] for prompt in PROMPTS])
    deriver = BatchDeriver(context(family), [D.MLP_POST_ACT, D.ATTN_WRITE_NORM], DstConfig(layer_indices=[1]))
    for _ in range(2):  # one plan serves many batches
        results = deriver.run(tokens, mask)
    assert set(results) == {D.MLP_POST_ACT, D.ATTN_WRITE_NORM}
    config = DstConfig(model_context=context(family))
    for row, prompt in enumerate(PROMPTS):
        store = derive(prompt, [D.MLP_POST_ACT, D.ATTN_WRITE_NORM], config)
        n, n_pairs = len(prompt), len(prompt) * (len(prompt) + 1) // 2
        close(results[D.MLP_POST_ACT][1][row, :n], store.activations(D.MLP_POST_ACT)[1])
        close(results[D.ATTN_WRITE_NORM][1][row, :n_pairs], store.activations(D.ATTN_WRITE_NORM)[1])
    assert not results[D.MLP_POST_ACT][1].requires_grad
    unpadded = deriver.run(tokens[2:3])
    close(unpadded[D.MLP_POST_ACT][1][0], results[D.MLP_POST_ACT][1][2])
