"""Autoencoders from objects in memory: of SAELens, state dicts, and this library's own, alone or by layer."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import neuron_explainer as ne
from helpers.autoencoder_files import N_INPUTS, N_LATENTS, state_dict
from helpers.derived_scalars import close, context, derived
from neuron_explainer.errors import (
    AutoencoderFormatError,
    AutoencoderMismatchError,
    InvalidRequestError,
    UnknownNameError,
)
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.models.autoencoders.openai_files import autoencoder_from_state_dict
from neuron_explainer.notices import AssumedSettingWarning
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

sae_lens = pytest.importorskip("sae_lens", exc_type=ImportError)
INPUTS = torch.randn(2, 5, N_INPUTS, generator=torch.Generator().manual_seed(1))
TOP_K: dict[str, Any] = {"activation": "TopK", "activation_state_dict": {"k": 2, "postact_fn": "ReLU"}}


def sae_of_saelens(
    architecture: str = "standard",
    layer: int = 1,
    hook: str = "hook_mlp_out",
    *,
    training: bool = False,
    **settings: Any,
) -> Any:
    get = sae_lens.registry.get_sae_training_class if training else sae_lens.registry.get_sae_class
    kind, config = get(architecture)
    metadata = sae_lens.saes.sae.SAEMetadata(model_name="gpt2", hook_name=f"blocks.{layer}.{hook}")
    made = kind(config(d_in=N_INPUTS, d_sae=N_LATENTS, metadata=metadata, **settings))
    generator = torch.Generator().manual_seed(layer)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if "threshold" in name and "log" not in name:
                parameter.abs_()
    return made


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("standard", {}),
        ("topk", {"k": 2}),
        ("gated", {}),
        ("jumprelu", {}),
        ("standard", {"apply_b_dec_to_input": False}),
    ],
)
def test_an_sae_in_memory_gives_the_latents_that_it_gives_in_saelens(
    architecture: str, settings: dict[str, Any]
) -> None:
    theirs = sae_of_saelens(architecture, **settings)
    autoencoders = ne.load_autoencoders(theirs)
    assert (autoencoders.dst, autoencoders.layer_indices) == (D.RESID_DELTA_MLP, (1,))
    assert autoencoders.autoencoder_config.base_model_name == "gpt2"
    ours = autoencoders.get_autoencoder(1)
    with torch.no_grad():
        close(ours.encode(INPUTS), theirs.encode(INPUTS), 1e-5)
        close(ours.reconstruct(INPUTS), theirs(INPUTS), 1e-5)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated"])
def test_an_sae_in_training_is_taken_as_it_is_now(architecture: str) -> None:
    theirs = sae_of_saelens(architecture, training=True).eval()
    ours, _ = ne.load_autoencoder(theirs)
    with torch.no_grad():
        before = theirs.encode(INPUTS).clone()
        close(ours.encode(INPUTS), before, 1e-5)
        for parameter in theirs.parameters():
            parameter.mul_(2.0)
    close(ours.encode(INPUTS), before, 1e-5)


def test_an_object_and_its_folder_give_the_same(tmp_path: Path) -> None:
    theirs = sae_of_saelens("jumprelu")
    theirs.save_model(tmp_path)
    saved, in_memory = ne.load_autoencoder(tmp_path)[0], ne.load_autoencoder(theirs)[0]
    assert torch.equal(saved.encode(INPUTS), in_memory.encode(INPUTS))


def test_what_the_object_does_not_hold_is_said() -> None:
    scaled = sae_of_saelens(normalize_activations="expected_average_only_in")
    with pytest.raises(AutoencoderFormatError, match=r"StandardSAE in memory: .*fold_activation_norm_scaling_factor"):
        ne.load_autoencoder(scaled)
    whitened = sae_of_saelens()
    whitened.cfg.normalize_activations = "covariance_whitening"
    with pytest.raises(AutoencoderFormatError, match=r"does not hold activation_whitening.safetensors. Save it"):
        ne.load_autoencoder(whitened)


def test_several_objects_and_paths_by_layer(tmp_path: Path) -> None:
    first, second = sae_of_saelens(layer=1), sae_of_saelens(layer=2)
    assert ne.load_autoencoders([second, first]).layer_indices == (1, 2)
    assert ne.load_autoencoders([second, first], layers=[2]).layer_indices == (2,)
    torch.save(state_dict(0), tmp_path / "0.pt")
    own = autoencoder_from_state_dict(state_dict(3))
    mixed = ne.load_autoencoders({0: tmp_path / "0.pt", 1: first, 2: state_dict(2), 3: own}, "resid_delta_mlp")
    assert mixed.layer_indices == (0, 1, 2, 3)
    for layer, seed in ((0, 0), (2, 2), (3, 3)):
        expected = autoencoder_from_state_dict(state_dict(seed))
        assert torch.equal(mixed.get_autoencoder(layer).encode(INPUTS), expected.encode(INPUTS))


def test_one_anonymous_object_needs_its_place_and_layer() -> None:
    own = autoencoder_from_state_dict(state_dict())
    for anonymous in (own, state_dict()):
        with pytest.raises(InvalidRequestError, match="does not say what the autoencoders were trained"):
            ne.load_autoencoders(anonymous)
        with pytest.raises(AutoencoderFormatError, match="a mapping from the layer to it"):
            ne.load_autoencoders(anonymous, "mlp_post_act")
        assert ne.load_autoencoders(anonymous, "mlp_post_act", layers=[4]).layer_indices == (4,)


def test_objects_that_contradict_what_they_are_used_for_are_refused() -> None:
    with pytest.raises(AutoencoderMismatchError, match=r"of layer 1, but is used as one of layer 2"):
        ne.load_autoencoders({2: sae_of_saelens(layer=1)})
    with pytest.raises(AutoencoderFormatError, match="of one place, here mlp_post_act"):
        ne.load_autoencoders(sae_of_saelens(), "mlp_post_act")
    with pytest.raises(AutoencoderFormatError, match="both of layer 1"):
        ne.load_autoencoders([sae_of_saelens(), sae_of_saelens()])
    with pytest.raises(AutoencoderFormatError, match="of one place"):
        ne.load_autoencoders([sae_of_saelens(), sae_of_saelens(layer=2, hook="hook_resid_post")])
    for wrong in (3, [3], {0: 3}, object()):
        with pytest.raises(InvalidRequestError):
            ne.load_autoencoders(wrong, "mlp_post_act")
    with pytest.raises(InvalidRequestError, match="an SAE of SAELens, a state dict"):
        ne.load_autoencoder(3.5)


def test_objects_run_in_a_model_and_go_to_its_dtype() -> None:
    width = 32
    kind, config = sae_lens.registry.get_sae_class("standard")
    metadata = sae_lens.saes.sae.SAEMetadata(hook_name="blocks.1.hook_resid_post")
    theirs = kind(config(d_in=width, d_sae=N_LATENTS, metadata=metadata))
    autoencoders = ne.load_autoencoders(theirs, model=context("gpt2"), dtype="float64")
    store = derived("gpt2", [D.AUTOENCODER_LATENT, D.RESID_POST_MLP], autoencoder_context=autoencoders)
    with torch.no_grad():
        expected = theirs.double().encode(store.activations(D.RESID_POST_MLP)[1])
    close(store.activations(D.AUTOENCODER_LATENT)[1], expected, 1e-6)
    with pytest.raises(AutoencoderMismatchError, match=r"reads .* 4 numbers"):
        ne.load_autoencoders(sae_of_saelens(), model=context("gpt2"), base_model_name="gpt2")


def test_dead_latents_of_objects_are_omitted() -> None:
    statistics = torch.tensor([0, 10**9, 0, 0, 10**9, 0])
    autoencoders = ne.load_autoencoders(
        {0: state_dict(stats_last_nonzero=statistics)}, "mlp_post_act", omit_dead_latents=True
    )
    assert autoencoders.get_autoencoder(0).n_latents == 4


# What files leave out


def normalised(inputs: torch.Tensor) -> torch.Tensor:
    return (inputs - inputs.mean(-1, keepdim=True)) / (inputs.std(-1, keepdim=True) + 1e-5)


def test_a_top_k_file_does_not_say_whether_inputs_were_layer_normed_and_an_argument_does(tmp_path: Path) -> None:
    torch.save(state_dict(**TOP_K), tmp_path / "0.pt")
    plain = autoencoder_from_state_dict(state_dict(**TOP_K)).with_input_scaling("none")
    with pytest.warns(AssumedSettingWarning, match="0.pt does not say how inputs were scaled. This assumes that each"):
        assumed, _ = ne.load_autoencoder(tmp_path / "0.pt")
    close(assumed.encode(INPUTS), plain.encode(normalised(INPUTS)), 1e-5)
    given, _ = ne.load_autoencoder(tmp_path / "0.pt", input_scaling="none")
    assert torch.equal(given.encode(INPUTS), plain.encode(INPUTS))
    given, _ = ne.load_autoencoder(state_dict(**TOP_K), input_scaling="layer_norm")
    assert torch.equal(given.encode(INPUTS), assumed.encode(INPUTS))
    assert "input_scaling was given: layer_norm" in repr(given)
    without_warning = ne.load_autoencoders(tmp_path, "mlp_post_act", input_scaling="none").get_autoencoder(0)
    assert torch.equal(without_warning.encode(INPUTS), plain.encode(INPUTS))
    with pytest.warns(AssumedSettingWarning):
        ne.load_autoencoders(tmp_path, "mlp_post_act").get_autoencoder(0)


def test_published_top_k_autoencoders_are_known_to_be_layer_normed() -> None:
    from neuron_explainer.models.autoencoders.locating import autoencoder_config

    for name, scaling in (
        ("ae-resid-post-mlp-v5-32k", InputScaling.LAYER_NORM),
        ("ae-mlp-post-act-v4", None),
        ("ae-resid-delta-mlp-v1", None),
    ):
        assert autoencoder_config(name, layers=[3]).input_scaling is scaling
    assert autoencoder_config("ae-resid-post-mlp-v5-32k", input_scaling="none").input_scaling is InputScaling.NONE


def test_centring_that_a_file_leaves_out_is_an_argument(tmp_path: Path) -> None:
    theirs = sae_of_saelens(hook="hook_resid_post")
    theirs.save_model(tmp_path)
    plain = ne.load_autoencoder(tmp_path)[0]
    mean = INPUTS.mean(-1, keepdim=True)
    for centred in (
        ne.load_autoencoder(tmp_path, input_scaling="center")[0],
        ne.load_autoencoders(tmp_path, input_scaling=InputScaling.CENTER).get_autoencoder(1),
        ne.load_autoencoders(theirs, input_scaling="CENTER").get_autoencoder(1),
        ne.AutoencoderContext(
            ne.AutoencoderConfig("resid_post_mlp", {1: tmp_path}, input_scaling="center")
        ).get_autoencoder(1),
    ):
        close(centred.encode(INPUTS), plain.encode(INPUTS - mean), 1e-6)
        close(centred.reconstruct(INPUTS), plain.reconstruct(INPUTS - mean) + mean, 1e-6)
    with pytest.raises(UnknownNameError, match="Unknown input scaling 'centre'"):
        ne.load_autoencoder(tmp_path, input_scaling="centre")


# Several threads


def test_the_first_thread_loads_an_autoencoder_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state_dict(), tmp_path / "0.pt")
    autoencoders = ne.load_autoencoders(tmp_path, "mlp_post_act")
    loads: list[int] = []
    load = autoencoders._load

    def slow(layer: int) -> Autoencoder:
        loads.append(layer)
        threading.Event().wait(0.05)
        return load(layer)

    monkeypatch.setattr(autoencoders, "_load", slow)
    got: list[Autoencoder] = []
    threads = [threading.Thread(target=lambda: got.append(autoencoders.get_autoencoder(0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [0]
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_an_autoencoder_loaded_in_inference_mode_takes_part_in_a_backward_pass(tmp_path: Path) -> None:
    torch.save(state_dict(), tmp_path / "0.pt")
    autoencoders = ne.load_autoencoders(tmp_path, "mlp_post_act")
    with torch.inference_mode():
        autoencoder = autoencoders.get_autoencoder(0)
    inputs = INPUTS.clone().requires_grad_()
    autoencoder.encode(inputs).sum().backward()
    assert inputs.grad is not None
    assert bool((inputs.grad != 0).any())


@pytest.mark.parametrize("dtype", [None, "float64"])
def test_an_autoencoder_made_in_inference_mode_takes_part_in_a_backward_pass(dtype: str | None) -> None:
    with torch.inference_mode():
        made = {name: tensor * 1.0 for name, tensor in state_dict().items()}
        autoencoder = ne.load_autoencoder(made, "cpu", dtype)[0]
    inputs = INPUTS.clone().requires_grad_()
    autoencoder.encode(inputs).sum().backward()
    assert inputs.grad is not None
    assert bool((inputs.grad != 0).any())
