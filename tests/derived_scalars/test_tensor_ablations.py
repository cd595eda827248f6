"""Overwriting with tensors, at some tokens, and with another prompt's activations."""

import json
from typing import Any, cast

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import PROMPT, autoencoders, close, context, derived, logit_difference
from helpers.functional_forward import FAMILIES, forward
from neuron_explainer.activations.derived_scalars import AblationSpec, ActivationIndex, BatchDeriver, DstConfig
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.tensor_ablations import TensorAblation
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidIndexError,
    InvalidRequestError,
    MissingSettingError,
)
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

OTHER = [9, 17, 30, 2, 41, 6]
STRUCTURES = ["gpt2", "llama", "gemma2", "gptj", "olmo2", "qwen3_moe", "gpt_oss"]


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("place", "layer", "indices", "shape"),
    [
        (Place.MLP_POST_ACT, 1, ("All", "All"), (6, 1)),
        (Place.MLP_POST_ACT, 1, ("All", 9), (6,)),
        (Place.MLP_PRE_ACT, 1, (4, 9), ()),
        (Place.ATTN_VALUE, 0, ("All", 1, "All"), (1,)),
        (Place.ATTN_QK_PROBS, 1, ("All", "All", 1), (6, 6)),
        (Place.ATTN_QK_LOGITS, 2, (5, "All", 0), (6,)),
        (Place.RESID_POST_MLP, 0, ("All", 3), (6,)),
        (Place.LOGITS, None, ("All", 7), (6,)),
    ],
)
def test_a_tensor_is_written_as_by_hand(family, place, layer, indices, shape):
    values = random(*shape)
    where = tuple(slice(None) if entry == "All" else entry for entry in indices)

    def edit(at, at_layer, tensor):
        if (at, at_layer) == (place, layer):
            tensor = tensor.clone()
            tensor[where] = values
        return tensor

    found = forward(family, PROMPT, edit=edit)
    ablation = TensorAblation(ActivationIndex(place, layer, indices), values)
    store = derived(family, [D.LOGITS, D.from_activation_location_type(place)], ablations=ablation)
    close(store.activations(D.LOGITS)[None], found[Place.LOGITS, None])
    close(store.loss, logit_difference(found[Place.LOGITS, None]))


@pytest.mark.parametrize("family", STRUCTURES)
def test_some_tokens_are_those_one_by_one(family):
    """The same numbers, given for each token; of a mixture of experts, for all neurons."""
    values, dsts = random(2, 1), [D.LOGITS, D.MLP_ACT_TIMES_GRAD]
    together = [
        TensorAblation(ActivationIndex(Place.MLP_POST_ACT, 1, ("All", "All")), values, tokens=[4, 1]),
        AblationSpec(ActivationIndex(Place.ATTN_QK_PROBS, 0, ("All", 0, "All")), 0.25, tokens=[2, 3]),
    ]
    one_by_one = [
        AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 1, (4, "All")), values[0, 0]),
        AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 1, (1, "All")), values[1, 0]),
        AblationSpec(ActivationIndex(Place.ATTN_QK_PROBS, 0, (2, 0, "All")), 0.25),
        AblationSpec(ActivationIndex(Place.ATTN_QK_PROBS, 0, (3, 0, "All")), 0.25),
    ]
    first, second = (derived(family, dsts, ablations=ablations) for ablations in (together, one_by_one))
    assert first.loss != derived(family, dsts).loss
    close(first.loss, second.loss, 1e-12)
    for dst in dsts:
        for layer, tensor in second.activations(dst).items():
            close(first.activations(dst)[layer], tensor, 1e-12)


@pytest.mark.parametrize("family", STRUCTURES)
def test_another_prompt_s_residual_stream_gives_its_logits(family):
    index = ActivationIndex(Place.RESID_POST_MLP, 1, ("All", "All"))
    patch = TensorAblation.from_prompt(index, context(family), OTHER)
    store = derived(family, D.LOGITS, ablations=[patch])
    close(store.activations(D.LOGITS)[None], derived(family, D.LOGITS, prompt=OTHER).activations(D.LOGITS)[None])
    # At the last token alone, the other prompt's keys and values below are not there.
    last = TensorAblation.from_prompt(index, context(family), OTHER, tokens=[5])
    assert last.values.shape == (1, context(family).config.d_model)
    same = TensorAblation.from_prompt(ActivationIndex(Place.RESID_POST_MLP, 1, (5, "All")), context(family), OTHER)
    stores = [derived(family, D.LOGITS, ablations=each) for each in (last, same)]
    close(stores[0].loss, stores[1].loss, 1e-12)
    assert stores[0].loss != pytest.approx(store.loss, abs=1e-6)


def test_a_gradient_can_be_a_tensor_and_the_later_of_two_counts():
    index = ActivationIndex(Place.MLP_POST_ACT, 1, (4, "All"), PassType.BACKWARD)
    values = random(context("gpt2").config.d_mlp)
    ablations = [AblationSpec(ActivationIndex(Place.MLP_POST_ACT, 1, (4, 9), "backward"), 3.0)]
    store = derived(
        "gpt2", D.MLP_POST_ACT, derive_gradients=True, ablations=[TensorAblation(index, values), *ablations]
    )
    expected = values.clone()
    expected[9] = 3.0
    close(store.activations(D.MLP_POST_ACT, "backward")[1][4], expected)


@pytest.mark.parametrize("dst", [D.MLP_POST_ACT, D.RESID_DELTA_ATTN])
def test_another_prompt_s_latents(dst):
    config = DstConfig(model_context=context("llama"), autoencoder_context=autoencoders("llama", dst))
    index = ActivationIndex(Place.ONLINE_AUTOENCODER_LATENT, 1, ("All", "All"))
    patch = TensorAblation.from_prompt(index, config, OTHER)
    theirs = ne.derive(OTHER, D.ONLINE_AUTOENCODER_LATENT, config)
    close(patch.values, theirs.activations(D.ONLINE_AUTOENCODER_LATENT)[1])
    store = ne.derive(PROMPT, [D.ONLINE_AUTOENCODER_LATENT, D.LOGITS], config, ablations=patch)
    close(store.activations(D.ONLINE_AUTOENCODER_LATENT)[1], patch.values)
    plain = ne.derive(PROMPT, D.LOGITS, config)
    assert (store.activations(D.LOGITS)[None] - plain.activations(D.LOGITS)[None]).abs().max() > 1e-3
    with pytest.raises(MissingSettingError, match="autoencoder"):
        TensorAblation.from_prompt(index, context("llama"), OTHER)


@pytest.mark.parametrize("family", STRUCTURES)
def test_the_rest_of_a_row_of_attention_stays_and_is_not_normalised(family):
    ablation = AblationSpec(ActivationIndex(Place.ATTN_QK_PROBS, 1, (4, 2, 1)), 0.0)
    dsts = [D.ATTN_QK_PROBS, D.ATTN_QK_LOGITS, D.ATTN_WEIGHTED_SUM_OF_VALUES, D.ATTN_VALUE]
    plain, without = derived(family, dsts), derived(family, dsts, ablations=ablation)
    expected = plain.activations(D.ATTN_QK_PROBS)[1].clone()
    removed = float(expected[4, 2, 1])
    expected[4, 2, 1] = 0
    assert removed > 1e-3
    close(without.activations(D.ATTN_QK_PROBS)[1], expected, 1e-14)
    lost = plain.activations(D.ATTN_QK_PROBS)[1][4, :, 1].sum() - without.activations(D.ATTN_QK_PROBS)[1][4, :, 1].sum()
    close(lost, removed)
    values = plain.activations(D.ATTN_VALUE)[1]
    weighted = plain.activations(D.ATTN_WEIGHTED_SUM_OF_VALUES)[1].clone()
    weighted[4, 1] -= removed * values[2, values.shape[1] * 1 // weighted.shape[1]]
    close(without.activations(D.ATTN_WEIGHTED_SUM_OF_VALUES)[1], weighted)


def test_a_batch_deriver_takes_what_derive_takes():
    index = ActivationIndex(Place.MLP_POST_ACT, 1, ("All", 9))
    ablations: list[Any] = [TensorAblation(index, random(6)), AblationSpec(index, 2.0, tokens=[3])]
    deriver = BatchDeriver(context("gpt2"), D.LOGITS, ablations=ablations)
    store = derived("gpt2", D.LOGITS, ablations=ablations)
    close(deriver.run(torch.tensor([PROMPT]))[D.LOGITS][None][0], store.activations(D.LOGITS)[None])
    with pytest.raises(InvalidRequestError, match="are for 6 tokens; the batch has 5"):
        deriver.run(torch.tensor([PROMPT[:5]]))


def test_json_has_tokens_only_where_they_are_given():
    index = ActivationIndex(Place.MLP_POST_ACT, 1, ("All", 9))
    plain, at_tokens = AblationSpec(index, 0), AblationSpec(index, "mean", tokens=torch.tensor([3, 4]))
    assert list(plain.to_json()) == ["index", "value"]
    assert at_tokens.to_json() == {"index": index.to_json(), "value": "mean", "tokens": [3, 4]}
    for ablation in (plain, at_tokens):
        again = AblationSpec.from_json(json.dumps(ablation.to_json()))
        assert again == ablation
        assert hash(again) == hash(ablation)
    assert repr(at_tokens) == f"AblationSpec({index!r}, 'mean', (3, 4))"


NEURONS = ActivationIndex(Place.MLP_POST_ACT, 1, ("All", "All"))
ONE = ActivationIndex(Place.MLP_POST_ACT, 1, (3, 9))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AblationSpec(ONE, 0, tokens=[3]), InvalidIndexError, 'names token 3. Write "All"'),
        (lambda: AblationSpec(NEURONS, 0, tokens=[]), InvalidIndexError, "each once"),
        (lambda: AblationSpec(NEURONS, 0, tokens=[2, 2]), InvalidIndexError, "each once"),
        (lambda: AblationSpec(NEURONS, 0, tokens=[-1]), InvalidIndexError, "counted from 0"),
        (lambda: AblationSpec(NEURONS, 0, tokens=cast("Any", 3)), InvalidIndexError, "list of positions"),
        (
            lambda: AblationSpec(NEURONS, cast("Any", "zero")),
            InvalidIndexError,
            "finite number or \"mean\", not 'zero'",
        ),
        (lambda: TensorAblation(cast("Any", 3), random(2)), InvalidIndexError, "must be an ActivationIndex"),
        (lambda: TensorAblation(NEURONS, cast("Any", 3.0)), InvalidRequestError, "For one number use AblationSpec"),
        (lambda: TensorAblation(NEURONS, random(2).long()), InvalidRequestError, "dtype int64"),
        (lambda: TensorAblation(NEURONS, torch.tensor([float("nan")])), InvalidRequestError, "infinite or NaN"),
        (lambda: TensorAblation(ONE, random(2)), InvalidRequestError, "names 0 whole axes"),
        (lambda: TensorAblation.from_prompt(ONE, context("gpt2"), OTHER[:3]), IndexOutOfRangeError, "Position 3"),
        (
            lambda: TensorAblation.from_prompt(NEURONS, context("gpt2"), OTHER, tokens=[6]),
            IndexOutOfRangeError,
            "Position 6",
        ),
        (
            lambda: TensorAblation.from_prompt(
                ActivationIndex(Place.MLP_POST_ACT, 1, (3, 9), "backward"), context("gpt2"), OTHER
            ),
            InvalidIndexError,
            "is a gradient",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_made(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        (
            lambda: TensorAblation.from_prompt(NEURONS, context("gpt2"), OTHER[:4]),
            "a prompt of 4 tokens; the prompt has 6",
        ),
        (lambda: TensorAblation.from_prompt(ONE, context("gpt2"), OTHER[:4]), "a prompt of 4 tokens; the prompt has 6"),
        (lambda: TensorAblation(NEURONS, random(5, 1)), "are for 5 tokens; the prompt has 6"),
        (lambda: TensorAblation(NEURONS, random(6, 3)), "the axis mlp_acts is of length"),
        (lambda: TensorAblation(NEURONS, random(3, 1), tokens=[1, 2]), "the axis sequence_tokens is of length 2"),
        (lambda: AblationSpec(NEURONS, 0, tokens=[6]), "Position 6"),
    ],
)
def test_what_does_not_fit_the_prompt_is_refused_before_the_model_runs(ablation, message):
    with pytest.raises(InvalidRequestError, match=message):
        derived("gpt2", D.LOGITS, ablations=ablation())


def test_a_tensor_s_values_are_its_own():
    values = np.ones((6, 1), dtype=np.float32)
    ablation = TensorAblation(NEURONS, values)
    values[:] = 7
    assert float(ablation.values.max()) == 1
    assert repr(ablation) == f"TensorAblation({NEURONS!r}, <tensor of shape (6, 1)>)"
