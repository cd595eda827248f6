"""Losses and ablations for each prompt of a batch: the same as deriving one by one."""

from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import EACH_STRUCTURE, autoencoders, close, context, logit_difference
from neuron_explainer.activations.derived_scalars import (
    AblationSpec,
    ActivationIndex,
    BatchDeriver,
    DstConfig,
    LossFnConfig,
    derive,
    derive_batch,
)
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex, TraceConfig
from neuron_explainer.activations.derived_scalars.loss import LossFnName, last_token_loss
from neuron_explainer.activations.derived_scalars.losses import losses_of_prompts
from neuron_explainer.activations.derived_scalars.tensor_ablations import TensorAblation
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, MisconfiguredError
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

PROMPTS = [[5, 17, 3, 44, 17, 20], [9, 8, 7, 6], [1, 2, 3, 4, 5, 6, 7, 8, 60], [11, 12, 13]]
NAMED = [
    LossFnConfig("logit_diff", [7], [11]),
    LossFnConfig("logit_diff", [3, 4, 9], [1, 2]),
    LossFnConfig("logit_diff", [30]),
    LossFnConfig("logit_diff", [7, 8], [11, 12, 13]),
]
MIXED: list[Any] = [LossFnConfig("probs", [7, 8]), logit_difference, LossFnConfig("logit_minus_mean", [3, 5]), NAMED[0]]
NEURON = ActivationIndex(Place.MLP_POST_ACT, 1, ("All", 9))
ABLATIONS: list[list[Any]] = [
    [AblationSpec(NEURON, 0.5, tokens=[5, 2]), AblationSpec(ActivationIndex(Place.RESID_POST_MLP, 0, (5, 3)), 2.0)],
    [],
    [
        TensorAblation(
            ActivationIndex(Place.ATTN_QK_PROBS, 0, (8, "All", 1)), torch.full((9,), 0.2, dtype=torch.float64)
        ),
        AblationSpec(ActivationIndex(Place.MLP_PRE_ACT, 2, ("All", "All")), 0.3),
        AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 0, ("All", 4), "backward"), 1.5),
    ],
    [TensorAblation(NEURON, torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)), AblationSpec(NEURON, 4.0, tokens=[1])],
]
DSTS = [
    D.LOGITS,
    D.ATTN_QK_PROBS,
    D.ATTN_ACT_TIMES_GRAD,
    D.MLP_POST_ACT,
    D.MLP_ACT_TIMES_GRAD,
    D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    D.TOKEN_ATTRIBUTION,
]


def check_one_by_one(config, dsts, losses, ablations, prompts=PROMPTS):
    together = derive_batch(prompts, dsts, config, loss=losses, ablations=ablations)
    for row, prompt in enumerate(prompts):
        alone = derive(prompt, dsts, config, loss=losses[row], ablations=ablations[row])
        close(together[row].loss, alone.loss, 1e-10)
        assert together[row].contents() == alone.contents()
        for dst, pass_type, _ in alone.contents():
            for layer, tensor in alone.activations(dst, pass_type).items():
                close(together[row].activations(dst, pass_type)[layer], tensor, 1e-10)


@pytest.mark.parametrize("family", [*EACH_STRUCTURE, "qwen3_moe"])
def test_each_prompt_has_its_own_loss_and_ablations(family):
    check_one_by_one(DstConfig(model_context=context(family)), DSTS, MIXED, ABLATIONS)


def test_losses_of_one_name_with_other_tokens():
    check_one_by_one(DstConfig(model_context=context("gpt2")), DSTS, NAMED, ABLATIONS)


@pytest.mark.parametrize("losses", [NAMED[:3], MIXED[:3]], ids=["named", "mixed"])
def test_latents_and_gradients_of_each_prompt(losses):
    config = DstConfig(
        model_context=context("llama"), derive_gradients=True, autoencoder_context=autoencoders("llama", D.MLP_POST_ACT)
    )
    latent = ActivationIndex(Place.ONLINE_AUTOENCODER_LATENT, 1, (2, 9))
    ablations = [
        [AblationSpec(latent, 3.0)],
        [],
        [AblationSpec(ActivationIndex(Place.ONLINE_MLP_AUTOENCODER_ERROR, 0, ("All", 3)), 0.0)],
    ]
    dsts = [D.LOGITS, D.MLP_POST_ACT, D.ONLINE_AUTOENCODER_LATENT, D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD]
    check_one_by_one(config, dsts, losses, ablations, PROMPTS[:3])


def test_a_value_traced_without_a_node_downstream_is_projected_on_each_prompt_s_loss():
    trace = TraceConfig(NodeIndex("attention_head", 1, (2, 1, 3)), "post", True, "V")
    config = DstConfig(model_context=context("gpt2"), trace_config=trace)
    together = derive_batch(PROMPTS, D.TOKEN_ATTRIBUTION, config, loss=MIXED)
    for prompt, loss, store in zip(PROMPTS, MIXED, together, strict=True):
        alone = derive(prompt, D.TOKEN_ATTRIBUTION, config, loss=loss)
        close(store.traced_activation, alone.traced_activation)
        close(store.activations(D.TOKEN_ATTRIBUTION)[None], alone.activations(D.TOKEN_ATTRIBUTION)[None])


def test_losses_of_one_name_are_computed_together(monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(arguments[1].shape)
        return last_token_loss(*arguments)

    monkeypatch.setattr(losses_of_prompts, "last_token_loss", counted)
    stores = derive_batch(PROMPTS, D.LOGITS, context("gpt2"), loss=tuple(NAMED))
    assert calls == [(4, 61)]
    assert len({store.loss for store in stores}) == 4


@pytest.mark.parametrize("name", [name for name in LossFnName if name is not LossFnName.ZERO])
def test_padding_is_no_token(name):
    logits = torch.randn(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    none = torch.empty(2, 0, dtype=torch.long)
    padded = last_token_loss(name, logits, torch.tensor([[3, -1, -1], [1, 4, 8]]), none)
    for row, targets in enumerate(([3], [1, 4, 8])):
        alone = last_token_loss(name, logits[row : row + 1], torch.tensor(targets), none[0])
        close(padded[row], alone[0], 1e-14)


def test_a_flat_list_is_for_all_and_positions_are_each_prompt_s_own():
    model = context("gpt2")
    flat = derive_batch(PROMPTS[:2], D.LOGITS, model, loss=logit_difference, ablations=ABLATIONS[3][1:])
    each = derive_batch(PROMPTS[:2], D.LOGITS, model, loss=logit_difference, ablations=[ABLATIONS[3][1:]] * 2)
    assert [store.loss for store in flat] == [store.loss for store in each]
    late: Any = AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 1, (5, 9)), 0)
    assert derive_batch(PROMPTS[:2], D.LOGITS, model, ablations=[[late], []])
    wrong: Any
    for wrong in ([late], [[], [late]], [[], [AblationSpec(NEURON, 0, tokens=[5])]]):
        with pytest.raises(IndexOutOfRangeError, match="Position 5"):
            derive_batch(PROMPTS[:2], D.LOGITS, model, ablations=wrong)
    of_six: Any = TensorAblation(NEURON, torch.zeros(6))
    assert derive_batch(PROMPTS[:2], D.LOGITS, model, ablations=[[of_six], []])
    for wrong in ([of_six], [[], [of_six]]):
        with pytest.raises(InvalidRequestError, match="are for 6 tokens; the prompt has 4"):
            derive_batch(PROMPTS[:2], D.LOGITS, model, ablations=wrong)


def test_prompts_that_longrope_stretches_otherwise_keep_their_own():
    """Each kind has a pass of its own; its rows are other ones than the prompts' numbers."""
    from benchmarks.shapes import random_model
    from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer

    rope = {**SMALL_CONFIGS["phi3"]["rope_parameters"], "original_max_position_embeddings": 4, "attention_factor": 1.0}
    entries = {**SMALL_CONFIGS["phi3"], "original_max_position_embeddings": 4, "rope_parameters": rope}
    model = ne.StandardModelContext("stretched", random_model(entries, "cpu", torch.float64), number_tokenizer())
    check_one_by_one(DstConfig(model_context=model), DSTS[:4], MIXED, ABLATIONS)


def test_a_warning_names_the_place_in_the_prompt_s_own_pass():
    huge = AblationSpec(ActivationIndex(Place.RESID_POST_MLP, 1, ("All", "All")), 1e300)
    with pytest.warns(ne.notices.NonFiniteWarning, match=r"of prompt 2: .* The first appear at"):
        derive_batch(PROMPTS[:3], D.LOGITS, context("gpt2"), ablations=[[], [], [huge, huge]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": NAMED[:2]}, "a list of 2 for 4 prompts"),
        ({"loss": [*NAMED[:3], None]}, "holds None, for prompt 3"),
        ({"ablations": [[], []]}, "2 lists for 4 prompts"),
        ({"ablations": [[], [], [], ABLATIONS[3][1]]}, "one flat list for all prompts, or a list of lists"),
    ],
)
def test_lists_that_do_not_fit_the_prompts_are_refused(given, message):
    with pytest.raises(MisconfiguredError) as raised:
        derive_batch(PROMPTS, D.LOGITS, context("gpt2"), **given)
    assert message in str(raised.value)


def test_one_prompt_takes_one_loss_and_a_flat_list():
    given: dict[str, Any]
    for given in ({"loss": NAMED[:1]}, {"ablations": [ABLATIONS[0]]}):
        with pytest.raises(MisconfiguredError, match="Only derive_batch takes"):
            derive(PROMPTS[0], D.LOGITS, context("gpt2"), **given)
        with pytest.raises(MisconfiguredError, match="Only derive_batch takes"):
            BatchDeriver(context("gpt2"), D.LOGITS, **given)
    assert derive_batch([], D.LOGITS, context("gpt2"), loss=[], ablations=[]) == []
