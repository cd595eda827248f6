"""Overwriting activations and gradients while the model runs: against editing by hand, and that nothing lingers."""

import pytest
import torch

from helpers.derived_scalars import PROMPT, autoencoders, close, context, derived, logit_difference
from helpers.functional_forward import FAMILIES, forward
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars import LossFnConfig
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.notices import UnchangedByInterventionWarning
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

ZERO = LossFnConfig("zero")


def overwritten(place, layer, indices, value, pass_type=PassType.FORWARD):
    return AblationSpec(ActivationIndex(place, layer, indices, pass_type), value)


@pytest.mark.parametrize(
    ("place", "layer", "indices"),
    [
        (Place.RESID_POST_EMBEDDING, None, (2, 7)),
        (Place.ATTN_QUERY, 1, (3, 1, "All")),
        (Place.ATTN_KEY, 1, ("All", 1, 4)),
        (Place.ATTN_VALUE, 0, (2, 3, "All")),
        (Place.ATTN_QK_LOGITS, 2, (5, 1, 0)),
        (Place.ATTN_QK_PROBS, 1, (4, None, 1)),
        (Place.ATTN_WEIGHTED_SUM_OF_VALUES, 1, (4, 1, "All")),
        (Place.RESID_DELTA_ATTN, 1, (4, "All")),
        (Place.MLP_PRE_ACT, 1, (4, 9)),
        (Place.MLP_POST_ACT, 1, ("All", 9)),
        (Place.RESID_POST_MLP, 2, (5, 3)),
        (Place.RESID_FINAL_LAYER_NORM_SCALE, None, (5, 0)),
        (Place.LOGITS, None, (5, 7)),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_activation_is_overwritten_as_by_hand(family, place, layer, indices):
    where = tuple(slice(None) if not isinstance(entry, int) else entry for entry in indices)

    def edit(at, at_layer, tensor):
        if (at, at_layer) == (place, layer):
            tensor = tensor.clone()
            tensor[where] = 0.75
        return tensor if tensor.requires_grad else tensor.requires_grad_()

    found = forward(family, PROMPT, edit=edit)
    loss = logit_difference(found[Place.LOGITS, None])
    (gradient,) = torch.autograd.grad(loss, found[Place.RESID_POST_EMBEDDING, None])
    dsts = [D.LOGITS, D.TOKEN_ATTRIBUTION, D.from_activation_location_type(place)]
    for given in (logit_difference, LossFnConfig("logit_diff", ["t7"], ["t11"])):
        store = derived(family, dsts, loss=given, ablations=[overwritten(place, layer, indices, 0.75)])
        close(store.loss, loss.item())
        close(store.activations(D.LOGITS)[None], found[Place.LOGITS, None].detach())
        close(store.activations(dsts[2])[layer], found[place, layer].detach())
        embedding = found[Place.RESID_POST_EMBEDDING, None].detach()
        close(store.activations(D.TOKEN_ATTRIBUTION)[None], (embedding * gradient).sum(-1, keepdim=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gradient_is_overwritten_for_what_lies_upstream(family):
    def reversed_at(value):
        def replace(gradient):
            gradient = gradient.clone()
            gradient[4, 9] = value
            return gradient

        return replace

    def edit(place, layer, tensor):
        tensor = tensor if tensor.requires_grad else tensor.requires_grad_()
        if (place, layer) == (Place.MLP_POST_ACT, 1):
            tensor.register_hook(reversed_at(2.5))
        return tensor

    found = forward(family, PROMPT, edit=edit)
    keys = [(Place.MLP_POST_ACT, 1), (Place.MLP_POST_ACT, 0), (Place.RESID_POST_EMBEDDING, None)]
    expected = torch.autograd.grad(logit_difference(found[Place.LOGITS, None]), [found[key] for key in keys])
    store = derived(
        family,
        [D.MLP_POST_ACT, D.RESID_POST_EMBEDDING],
        derive_gradients=True,
        ablations=[overwritten(Place.MLP_POST_ACT, 1, (4, 9), 2.5, PassType.BACKWARD)],
    )
    gradients = store.activations(D.MLP_POST_ACT, PassType.BACKWARD)
    # Autograd gives the gradient at the hooked tensor itself as it was before the hook; ours is as it was after.
    at_place = expected[0].clone()
    at_place[4, 9] = 2.5
    close(gradients[1], at_place)
    close(gradients[0], expected[1])
    close(store.activations(D.RESID_POST_EMBEDDING, PassType.BACKWARD)[None], expected[2])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fake_gradient_is_the_gradient_of_that_activation(family):
    """Loss 0, and the gradient of one neuron set to 1: what lies upstream has that neuron's gradient."""
    found = forward(family, PROMPT, edit=lambda place, layer, x: x if x.requires_grad else x.requires_grad_())
    (expected,) = torch.autograd.grad(found[Place.MLP_POST_ACT, 1][4, 9], found[Place.RESID_POST_EMBEDDING, None])
    store = derived(
        family,
        [D.RESID_POST_EMBEDDING, D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD],
        loss=ZERO,
        derive_gradients=True,
        ablations=[overwritten(Place.MLP_POST_ACT, 1, (4, 9), 1.0, PassType.BACKWARD)],
    )
    assert store.loss == 0
    close(store.activations(D.RESID_POST_EMBEDDING, PassType.BACKWARD)[None], expected)
    assert (store.activations(D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD)[0] == 0).all()


@pytest.mark.parametrize(
    ("dst", "place"), [(D.MLP_POST_ACT, Place.MLP_POST_ACT), (D.RESID_DELTA_ATTN, Place.RESID_DELTA_ATTN)]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_overwritten_latent_changes_the_reconstruction_and_not_the_error(family, dst, place):
    context_of = autoencoders(family, dst)
    autoencoder = context_of.get_autoencoder(1)

    def edit(at, layer, tensor):
        if (at, layer) == (place, 1):
            latents = ((tensor - autoencoder.pre_bias) @ autoencoder.encoder_weight.T + autoencoder.latent_bias).relu()
            changed = latents.clone()
            changed[4, 9] = 3.0
            return tensor + (changed - latents) @ autoencoder.decoder_weight.T
        return tensor

    expected = forward(family, PROMPT, edit=edit)[Place.LOGITS, None]
    dsts = [D.LOGITS, D.ONLINE_AUTOENCODER_LATENT, D.AUTOENCODER_LATENT, dst]
    ablations = [overwritten(Place.ONLINE_AUTOENCODER_LATENT, 1, (4, 9), 3.0)]
    store = derived(family, dsts, autoencoder_context=context_of, ablations=ablations)
    untouched = derived(family, dsts, autoencoder_context=context_of)
    close(store.activations(D.LOGITS)[None], expected)
    close(store.activations(dst)[1], untouched.activations(dst)[1])  # recorded before the autoencoder runs
    close(store.activations(D.AUTOENCODER_LATENT)[1], untouched.activations(D.AUTOENCODER_LATENT)[1])
    latents = store.activations(D.ONLINE_AUTOENCODER_LATENT)[1]
    assert latents[4, 9] == 3.0
    latents = latents.clone()
    latents[4, 9] = untouched.activations(D.ONLINE_AUTOENCODER_LATENT)[1][4, 9]
    close(latents, untouched.activations(D.ONLINE_AUTOENCODER_LATENT)[1])


def test_an_overwritten_error_is_what_is_added_to_the_reconstruction():
    context_of = autoencoders("gpt2", D.MLP_POST_ACT)
    autoencoder = context_of.get_autoencoder(1)

    def edit(at, layer, tensor):
        if (at, layer) != (Place.MLP_POST_ACT, 1):
            return tensor
        changed = tensor.clone()
        changed[4, 9] = autoencoder.reconstruct(tensor)[4, 9] + 0.5
        return changed

    expected = forward("gpt2", PROMPT, edit=edit)[Place.LOGITS, None]
    store = derived(
        "gpt2",
        [D.LOGITS, D.ONLINE_MLP_AUTOENCODER_ERROR],
        autoencoder_context=context_of,
        ablations=[overwritten(Place.ONLINE_MLP_AUTOENCODER_ERROR, 1, (4, 9), 0.5)],
    )
    close(store.activations(D.LOGITS)[None], expected)
    assert store.activations(D.ONLINE_MLP_AUTOENCODER_ERROR)[1][4, 9] == 0.5


def test_an_autoencoder_that_runs_gives_what_is_otherwise_computed_without_running_it():
    """A change far away makes the autoencoder of layer 1 run; what is upstream of the change must not notice."""
    context_of = autoencoders("gpt2", D.MLP_POST_ACT)
    dsts = [
        D.ONLINE_AUTOENCODER_LATENT,
        D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD,
        D.ONLINE_MLP_AUTOENCODER_ERROR_ACT_TIMES_GRAD,
        D.MLP_ACT_TIMES_GRAD,
        D.TOKEN_ATTRIBUTION,
    ]
    plain = derived("gpt2", dsts, autoencoder_context=context_of)
    value = float(plain.activations(D.ONLINE_AUTOENCODER_LATENT)[1][4, 9])
    same = overwritten(Place.ONLINE_AUTOENCODER_LATENT, 1, (4, 9), value)
    with pytest.warns(UnchangedByInterventionWarning):  # as it should be
        running = derived("gpt2", dsts, autoencoder_context=context_of, ablations=[same])
    # The overwritten latent is a constant now: gradients that came through it (here, of token 4) are not there.
    for dst in dsts[:3]:
        for layer in (1, 2):
            close(running.activations(dst)[layer], plain.activations(dst)[layer])
    close(running.activations(D.MLP_ACT_TIMES_GRAD)[2], plain.activations(D.MLP_ACT_TIMES_GRAD)[2])


def test_a_gradient_overwritten_at_an_autoencoder_s_input_leaves_its_latents_gradient_alone():
    context_of = autoencoders("gpt2", D.MLP_POST_ACT)
    dst = D.ONLINE_AUTOENCODER_ACT_TIMES_GRAD
    plain = derived("gpt2", [dst, D.MLP_ACT_TIMES_GRAD], autoencoder_context=context_of)
    ablations = [overwritten(Place.MLP_POST_ACT, 1, ("All", "All"), 0.0, PassType.BACKWARD)]
    cut = derived("gpt2", [dst, D.MLP_ACT_TIMES_GRAD], autoencoder_context=context_of, ablations=ablations)
    assert (cut.activations(D.MLP_ACT_TIMES_GRAD)[1] == 0).all()
    close(cut.activations(dst)[1], plain.activations(dst)[1])
    assert plain.activations(dst)[1].abs().max() > 0


def test_the_last_of_several_ablations_at_one_place_wins_and_none_lingers():
    place = Place.MLP_POST_ACT
    ablations = [overwritten(place, 1, (4, "All"), 1.0), overwritten(place, 1, (4, 9), 2.0)]
    store = derived("gpt2", D.MLP_POST_ACT, ablations=ablations)
    row = store.activations(D.MLP_POST_ACT)[1][4]
    assert row[9] == 2.0
    assert (row[[0, 8, 10]] == 1.0).all()
    before = forward("gpt2", PROMPT)[place, 1]
    close(derived("gpt2", D.MLP_POST_ACT).activations(D.MLP_POST_ACT)[1], before)
    model = context("gpt2").get_or_create_model()
    close(model(torch.tensor([PROMPT]))[0], forward("gpt2", PROMPT)[Place.LOGITS, None])
