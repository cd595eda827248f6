"""What is differentiated: losses by name, any function of the logits, and where they start."""

import itertools
import math

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import small_context
from helpers.derived_scalars import DISTRACTOR, PROMPT, TARGET, close, context, derived
from helpers.functional_forward import FAMILIES, forward
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars import DstConfig, LossFnConfig, LossFnName, derive
from neuron_explainer.activations.derived_scalars.loss import last_token_loss
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, NotOneTokenError
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


def of_logits(name, logits, targets, distractors=()):
    losses = last_token_loss(
        name,
        torch.tensor([logits], dtype=torch.float64),
        torch.tensor(targets, dtype=torch.long),
        torch.tensor(distractors, dtype=torch.long),
    )
    return float(losses)


def test_losses_by_hand():
    logits = [1.0, 3.0, -2.0, 6.0]
    assert of_logits(LossFnName.LOGIT_DIFF, logits, [0, 1], [2]) == 2 - -2
    assert of_logits(LossFnName.LOGIT_DIFF, logits, [3]) == 6
    assert of_logits(LossFnName.LOGIT_MINUS_MEAN, logits, [1, 3]) == 4.5 - 2
    total = sum(map(math.exp, logits))
    assert of_logits(LossFnName.PROBS, logits, [0, 2]) == pytest.approx((math.exp(1) + math.exp(-2)) / total)
    assert of_logits(LossFnName.ZERO, logits, []) == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("config", "by_hand"),
    [
        (
            LossFnConfig(LossFnName.LOGIT_DIFF, ["t7", "t8"], ["t11"]),
            lambda logits: (logits[-1, 7] + logits[-1, 8]) / 2 - logits[-1, 11],
        ),
        (LossFnConfig(LossFnName.LOGIT_MINUS_MEAN, ["t7"]), lambda logits: logits[-1, 7] - logits[-1].mean()),
        (LossFnConfig(LossFnName.PROBS, ["t7", "t9"]), lambda logits: logits[-1].softmax(-1)[[7, 9]].sum()),
        (
            lambda logits: torch.logsumexp(logits[:, 3], 0) * logits[2, 5],
            lambda logits: torch.logsumexp(logits[:, 3], 0) * logits[2, 5],
        ),
    ],
    ids=["logit_diff", "logit_minus_mean", "probs", "function"],
)
def test_the_gradient_is_that_of_the_loss_by_plain_autograd(family, config, by_hand):
    found = forward(family, PROMPT, edit=lambda place, layer, x: x.requires_grad_() if not x.requires_grad else x)
    loss = by_hand(found[ActivationLocationType.LOGITS, None])
    places = [
        (ActivationLocationType.RESID_POST_EMBEDDING, None),
        (ActivationLocationType.MLP_POST_ACT, 1),
        (ActivationLocationType.ATTN_QK_PROBS, 2),
        (ActivationLocationType.RESID_POST_MLP, 2),
    ]
    gradients = torch.autograd.grad(loss, [found[place] for place in places])
    dsts = [D.from_activation_location_type(place) for place, _ in places]
    store = derived(family, dsts, loss=config, derive_gradients=True)
    close(store.loss, loss.item())
    for dst, (_, layer), expected in zip(dsts, places, gradients, strict=True):
        close(store.activations(dst, PassType.BACKWARD)[layer], expected)


def test_tokens_may_be_given_as_ids():
    by_text = derived("gpt2", D.TOKEN_ATTRIBUTION, loss=LossFnConfig(LossFnName.LOGIT_DIFF, ["t7"], ["t11"]))
    by_id = derived("gpt2", D.TOKEN_ATTRIBUTION, loss=LossFnConfig(LossFnName.LOGIT_DIFF, [TARGET], [DISTRACTOR]))
    close(by_id.activations(D.TOKEN_ATTRIBUTION)[None], by_text.activations(D.TOKEN_ATTRIBUTION)[None], 0)


def test_the_loss_is_known_though_nothing_is_differentiated():
    store = derived("gpt2", D.MLP_POST_ACT)
    logits = context("gpt2").get_or_create_model()(torch.tensor([PROMPT]))[0]
    close(store.loss, float(logits[-1, TARGET] - logits[-1, DISTRACTOR]))


def test_logits_are_those_of_all_tokens_whichever_the_loss_looks_at():
    expected = context("gpt2").get_or_create_model()(torch.tensor([PROMPT]))[0]
    for loss in (None, LossFnConfig("probs", ["t7"]), lambda logits: logits[0, 0]):
        close(derived("gpt2", D.LOGITS, loss=loss).activations(D.LOGITS)[None], expected)


def test_the_gradient_at_the_logits_is_there_for_the_last_token():
    store = derived("gpt2", D.LOGITS, loss=LossFnConfig("logit_diff", ["t7"], ["t11"]), derive_gradients=True)
    gradient = store.activations(D.LOGITS, PassType.BACKWARD)[None]
    expected = torch.zeros(len(PROMPT), 61, dtype=torch.float64)
    expected[-1, TARGET], expected[-1, DISTRACTOR] = 1, -1
    close(gradient, expected, 0)


def test_json():
    config = LossFnConfig(LossFnName.LOGIT_DIFF, [" a"], [" b", " c"])
    assert LossFnConfig.from_json(config.to_json()) == config
    assert LossFnConfig.from_json('{"name": "zero"}') == LossFnConfig(LossFnName.ZERO)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no_such_loss", ["t1"]), "no_such_loss"),
        (("logit_diff", []), "at least one target"),
        (("logit_diff", "t1"), r"\['t1'\]"),
        (("probs", ["t1"], ["t2"]), "distractor"),
        (("zero", ["t1"]), "no tokens"),
    ],
)
def test_losses_that_make_no_sense_are_refused(arguments, says):
    with pytest.raises(MisconfiguredError, match=says):
        LossFnConfig(*arguments)


def test_a_target_must_be_one_token():
    config = DstConfig(model_context=context("gpt2"))
    with pytest.raises(NotOneTokenError):
        derive(PROMPT, D.MLP_ACT_TIMES_GRAD, config, loss=LossFnConfig("logit_diff", ["t1 t2"]))
    with pytest.raises(InvalidRequestError, match="61"):
        derive(PROMPT, D.MLP_ACT_TIMES_GRAD, config, loss=LossFnConfig("logit_diff", [61]))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda logits: logits[-1], "one number"),
        (lambda logits: 3.0, "one number"),
        (lambda logits: logits[-1, 0].detach(), "differentiated"),
    ],
)
def test_functions_that_cannot_be_differentiated_are_refused(function, says):
    with pytest.raises(InvalidRequestError, match=says):
        derived("gpt2", D.MLP_ACT_TIMES_GRAD, loss=function)


def test_losses_work_under_no_grad_and_inference_mode():
    by_name = LossFnConfig(LossFnName.LOGIT_DIFF, [TARGET], [DISTRACTOR])
    expected = derived("gpt2", D.MLP_ACT_TIMES_GRAD).activations(D.MLP_ACT_TIMES_GRAD)
    for mode, options in itertools.product((torch.no_grad, torch.inference_mode), ({}, {"loss": by_name})):
        with mode():
            store = derived("gpt2", D.MLP_ACT_TIMES_GRAD, **options)
        for layer, tensor in store.activations(D.MLP_ACT_TIMES_GRAD).items():
            close(tensor, expected[layer])


@pytest.mark.parametrize("gradients", [False, True])
def test_a_function_may_change_its_logits_in_place(gradients: bool) -> None:
    """It is given a copy: neither what was derived nor the parts of an answer change with it."""
    model = small_context("gpt2")
    config = ne.DstConfig(model_context=model, derive_gradients=gradients)

    def plain(logits: torch.Tensor) -> torch.Tensor:
        return logits[-1, 11] - logits[-1, 23]

    def doubled(logits: torch.Tensor) -> torch.Tensor:
        return plain(logits.mul_(2)) / 2

    def wiped(logits: torch.Tensor) -> torch.Tensor:
        result = plain(logits)
        with torch.no_grad():
            logits.zero_()
        return result

    prompt = [5, 9, 12, 7]
    expected = ne.derive(prompt, [D.LOGITS], config, loss=plain).activations(D.LOGITS)[None]
    for function in (doubled, wiped):
        found = ne.derive(prompt, [D.LOGITS], config, loss=function).activations(D.LOGITS)[None]
        assert torch.equal(found, expected)
        answer = ne.attribute(model, prompt, metric=function)
        assert answer.value == pytest.approx(ne.attribute(model, prompt, metric=plain).value, abs=1e-5)
        assert abs(answer.residue) < 1e-4
