"""Overwriting with mean activations over reference texts."""

import gc

import pytest
import torch

import neuron_explainer as ne
from helpers.derived_scalars import PROMPT, autoencoders, close, context, derived
from neuron_explainer.activations.derived_scalars import AblationSpec, ActivationIndex, DstConfig
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars.ablating import means
from neuron_explainer.activations.derived_scalars.ablating.means import mean_activation
from neuron_explainer.activations.derived_scalars.ablating.recorded import recorded_at
from neuron_explainer.activations.derived_scalars.ablating.reference_texts import reference_prompts, sample_texts
from neuron_explainer.activations.derived_scalars.tensor_ablations import TensorAblation
from neuron_explainer.errors import InvalidIndexError, InvalidRequestError, PromptError
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

REFERENCE = [[5, 17, 3], [9, 8], [1, 2, 3, 4, 5, 6, 7], [11], [12, 13, 14, 60], [7, 7]]
NEURONS = ActivationIndex(Place.MLP_POST_ACT, 1, ("All", "All"))


def tiny():
    return ne.load_model("tiny", device="cpu")


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "qwen3_moe"])
@pytest.mark.parametrize("place", [Place.MLP_POST_ACT, Place.ATTN_WEIGHTED_SUM_OF_VALUES, Place.RESID_POST_MLP])
def test_a_mean_is_that_of_the_tokens_of_all_texts(family, place):
    dst = D.from_activation_location_type(place)
    stores = ne.derive_batch(REFERENCE, dst, context(family))
    expected = torch.cat([store.activations(dst)[1] for store in stores]).mean(dim=0)
    close(mean_activation(context(family), place, 1, REFERENCE), expected)
    index = ActivationIndex(place, 1, [None] * len(place.shape))
    ablation = TensorAblation.mean(index, context(family), REFERENCE)
    store = derived(family, [dst, D.LOGITS], ablations=ablation)
    close(store.activations(dst)[1], expected.expand(len(PROMPT), *expected.shape))
    entries = (3, *[0] * (len(place.shape) - 1))
    one = TensorAblation.mean(ActivationIndex(place, 1, entries), context(family), REFERENCE)
    close(one.values, expected[entries[1:]])


def test_latents_and_errors_have_means():
    config = DstConfig(model_context=context("gpt2"), autoencoder_context=autoencoders("gpt2", D.MLP_POST_ACT))
    for place, dst in (
        (Place.ONLINE_AUTOENCODER_LATENT, D.ONLINE_AUTOENCODER_LATENT),
        (Place.ONLINE_MLP_AUTOENCODER_ERROR, D.ONLINE_MLP_AUTOENCODER_ERROR),
    ):
        stores = ne.derive_batch(REFERENCE, dst, config)
        expected = torch.cat([store.activations(dst)[1] for store in stores]).mean(dim=0)
        close(mean_activation(config, place, 1, REFERENCE), expected)


def test_the_beginning_token_is_left_out(monkeypatch):
    model = tiny()
    text, same = "Once upon a time", model.encode("Once upon a time")
    assert not reference_prompts(model, text)[0].n_beginning  # this model's tokenizer adds none
    by_text = mean_activation(model, "mlp_post_act", 1, text)
    close(mean_activation(model, "mlp_post_act", 1, same), by_text, 1e-6)
    encode = model.encode
    monkeypatch.setattr(
        model, "encode", lambda text, add_special_tokens=True: [0] * add_special_tokens + encode(text), raising=True
    )
    begun = ne.derive([0, *same], "mlp_post_act", model).activations("mlp_post_act")[1]
    for reference in (text, [0, *same], [[0, *same]], torch.tensor([[0, *same]])):
        close(mean_activation(model, "mlp_post_act", 1, reference), begun[1:].mean(dim=0), 1e-5)
    with pytest.raises(InvalidRequestError, match="no tokens beside those that begin a text"):
        mean_activation(model, "mlp_post_act", 1, [0])


def test_the_sample_s_means_are_computed_once_and_kept_as_long_as_the_model(monkeypatch):
    model, runs = tiny(), []

    def counted(*arguments):
        runs.append(arguments[1])
        return recorded_at(*arguments)

    monkeypatch.setattr(means, "recorded_at", counted)
    ablations = [
        AblationSpec(NEURONS, "mean", tokens=[2]),
        AblationSpec(ActivationIndex("mlp_post_act", 2, (1, 5)), "mean"),
    ]
    first = ne.derive("And the LORD said unto", "mlp_post_act", model, ablations=ablations)
    assert len(runs) == 4  # 16 texts in batches of 4, for both places together
    again = ne.derive("And the LORD said unto", "mlp_post_act", model, ablations=ablations)
    assert len(runs) == 4
    expected = mean_activation(model, Place.MLP_POST_ACT, 1)
    for store in (first, again):
        close(store.activations("mlp_post_act")[1][2], expected, 1e-6)
        close(store.activations("mlp_post_act")[2][1, 5], mean_activation(model, "mlp_post_act", 2)[5], 1e-6)
    assert len(runs) == 4
    assert model in means._MEANS
    with model.get_or_create_model().intervene("mlp_post_act", 0, torch.zeros_like):
        ablated = ne.derive(
            "A", "mlp_post_act", model, ablations=AblationSpec(ActivationIndex("mlp_pre_act", 1, (0, 0)), "mean")
        )
    assert len(runs) == 8
    assert ablated.loss is None
    mean_activation(model, "mlp_pre_act", 1)
    assert len(runs) == 12  # what the intervention had changed was not kept
    n_models = len(means._MEANS)
    del model, first, again, ablated, runs[:]
    gc.collect()
    assert len(means._MEANS) == n_models - 1


def test_the_sample_has_as_many_texts_of_each_source():
    texts = sample_texts()
    assert len(texts) == len(set(texts)) == 16
    assert {len(prompt.token_ids) for prompt in reference_prompts(tiny())} == {128}


def test_a_mean_over_short_and_long_texts_is_that_of_each_alone():
    """Padding does not count."""
    model = tiny()
    texts = ["A", "And the LORD said unto Moses, Speak unto the children of Israel, saying"]
    of_each = [ne.derive(text, "resid_post_mlp", model).activations("resid_post_mlp")[3] for text in texts]
    close(mean_activation(model, "resid_post_mlp", 3, texts), torch.cat(of_each).mean(dim=0), 1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: AblationSpec(ActivationIndex("attn_qk_probs", 1, (1, "All", 0)), "mean"),
            InvalidIndexError,
            "from_prompt",
        ),
        (lambda: mean_activation(context("gpt2"), "attn_qk_logits", 1), InvalidIndexError, "pairs of tokens"),
        (
            lambda: AblationSpec(ActivationIndex("mlp_post_act", 1, (1, 0), "backward"), "mean"),
            InvalidIndexError,
            "is a gradient",
        ),
        (lambda: mean_activation(context("gpt2"), "mlp_post_act", 7), InvalidRequestError, "no layer 7"),
        (lambda: TensorAblation.mean(NEURONS, context("gpt2"), []), InvalidRequestError, "reference is"),
        (lambda: TensorAblation.mean(NEURONS, context("gpt2"), [[61]]), PromptError, "no token 61"),
    ],
)
def test_means_that_do_not_exist_are_refused(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


def test_a_model_without_a_tokenizer_is_told_to_give_token_ids():
    model = ne.StandardModelContext("no text", context("gpt2").get_or_create_model())
    with pytest.raises(InvalidRequestError, match="Give token ids as reference"):
        ne.derive(PROMPT, D.LOGITS, model, ablations=AblationSpec(NEURONS, "mean"))
    close(
        mean_activation(model, Place.MLP_POST_ACT, 1, [PROMPT]),
        derived("gpt2", D.MLP_POST_ACT).activations(D.MLP_POST_ACT)[1].mean(dim=0),
    )
