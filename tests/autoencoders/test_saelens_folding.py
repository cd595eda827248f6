"""Unfinished trainings of SAELens: scales, whitenings, norms and thresholds in the order that training had them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

sae_lens = pytest.importorskip("sae_lens")

from sae_lens.registry import get_sae_class, get_sae_training_class  # noqa: E402

from neuron_explainer.errors import AutoencoderFormatError  # noqa: E402
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder  # noqa: E402

D_IN, D_SAE, SCALE = 12, 24, 2.5
INPUTS = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(1)) * 3 + 0.5


def randomised(sae: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return sae


def training(architecture: str, folder: Path, normalize: str, **settings: Any) -> Any:
    if architecture == "matryoshka_batchtopk":
        settings["matryoshka_widths"] = [8, D_SAE]
    sae_class, config_class = get_sae_training_class(architecture)
    sae = randomised(sae_class(config_class(d_in=D_IN, d_sae=D_SAE, normalize_activations=normalize, **settings)))
    if hasattr(sae, "topk_threshold"):
        sae.topk_threshold.fill_(0.7)
    sae.save_model(folder)
    return sae


def whitening(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    mean, matrix = torch.randn(D_IN, generator=generator), torch.randn(D_IN, D_IN, generator=generator)
    inverse = matrix.inverse().contiguous()
    tensors = {"mean": mean, "matrix": matrix, "inverse_matrix": inverse}
    save_file(tensors, folder / "activation_whitening.safetensors")
    return mean, matrix, inverse


@pytest.mark.parametrize("normalize", ["none", "expected_average_only_in"])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("subtracts_bias", [True, False])
@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka_batchtopk"])
def test_a_training_is_what_saelens_makes_of_it_for_use(
    tmp_path: Path, architecture: str, subtracts_bias: bool, rescale: bool, normalize: str
) -> None:
    folder = tmp_path / "training"
    options = {"k": 3, "rescale_acts_by_decoder_norm": rescale, "apply_b_dec_to_input": subtracts_bias}
    sae = training(architecture, folder, normalize, **options)
    if normalize != "none":
        (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": SCALE}))
        sae.fold_activation_norm_scaling_factor(SCALE)
    sae.save_inference_model(tmp_path / "for use")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "for use")
    for ours, _ in (load_autoencoder(folder), load_autoencoder(tmp_path / "for use")):
        with torch.no_grad():
            assert (theirs.encode(INPUTS) != 0).any()
            torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(ours.reconstruct(INPUTS), theirs(INPUTS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("subtracts_bias", [True, False])
@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka_batchtopk"])
def test_whitened_latents_are_chosen_as_in_training(
    tmp_path: Path, architecture: str, subtracts_bias: bool, rescale: bool
) -> None:
    options = {"k": 3, "rescale_acts_by_decoder_norm": rescale, "apply_b_dec_to_input": subtracts_bias}
    training(architecture, tmp_path, "covariance_whitening", **options)
    mean, matrix, inverse = whitening(tmp_path)
    weights = load_file(tmp_path / "sae_weights.safetensors")
    whitened = (INPUTS - mean) @ matrix
    pre = (whitened - weights["b_dec"] * subtracts_bias) @ weights["W_enc"] + weights["b_enc"]
    norms = weights["W_dec"].norm(dim=1) if rescale else torch.ones(D_SAE)
    pre = pre * norms
    if architecture == "topk":
        best = pre.topk(3).indices
        latents = torch.zeros_like(pre).scatter(-1, best, pre.gather(-1, best).relu())
    else:
        latents = pre * (pre > 0.7)
    reconstructed = (latents / norms @ weights["W_dec"] + weights["b_dec"]) @ inverse + mean
    ours, _ = load_autoencoder(tmp_path)
    torch.testing.assert_close(ours.encode(INPUTS), latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(INPUTS), reconstructed, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu"])
def test_rescaling_by_norms_means_nothing_where_the_architecture_has_no_such_setting(
    tmp_path: Path, architecture: str
) -> None:
    sae_class, config_class = get_sae_class(architecture)
    sae = randomised(sae_class(config_class(d_in=D_IN, d_sae=D_SAE)))
    if architecture == "jumprelu":
        sae.threshold.data.abs_()
    sae.save_model(tmp_path)
    path = tmp_path / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rescale_acts_by_decoder_norm": True}))
    ours, _ = load_autoencoder(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), sae.encode(INPUTS), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(INPUTS), sae(INPUTS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("subtracts_bias", [True, False])
def test_matching_pursuit_with_an_input_scale(tmp_path: Path, subtracts_bias: bool) -> None:
    sae_class, config_class = get_sae_class("matching_pursuit")
    options = {"apply_b_dec_to_input": subtracts_bias, "residual_threshold": 2.0}
    config = config_class(d_in=D_IN, d_sae=D_SAE, normalize_activations="expected_average_only_in", **options)
    sae = randomised(sae_class(config))
    sae.W_dec.data /= sae.W_dec.data.norm(dim=1, keepdim=True)
    sae.save_model(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": SCALE}))
    ours, _ = load_autoencoder(tmp_path)
    with torch.no_grad():
        # Unfolded: on scaled inputs, and scaled back.
        torch.testing.assert_close(ours.encode(INPUTS), sae.encode(INPUTS * SCALE) / SCALE, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(INPUTS), sae(INPUTS * SCALE) / SCALE, rtol=1e-4, atol=1e-5)


def test_temporal_with_an_input_scale(tmp_path: Path) -> None:
    sae_class, config_class = get_sae_class("temporal")
    options = {"n_heads": 2, "bottleneck_factor": 6, "kval_topk": 5}
    config = config_class(d_in=D_IN, d_sae=D_SAE, normalize_activations="expected_average_only_in", **options)
    sae = randomised(sae_class(config))
    sae.save_model(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": SCALE}))
    ours, _ = load_autoencoder(tmp_path)
    inputs = INPUTS.unflatten(0, (4, 10))
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(inputs), sae.encode(inputs * SCALE), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(inputs), sae(inputs * SCALE) / SCALE, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["matching_pursuit", "temporal"])
def test_a_whitening_that_cannot_be_folded_is_refused(tmp_path: Path, architecture: str) -> None:
    options = {"n_heads": 2, "bottleneck_factor": 6} if architecture == "temporal" else {}
    sae_class, config_class = get_sae_class(architecture)
    randomised(sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **options))).save_model(tmp_path)
    path = tmp_path / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "normalize_activations": "covariance_whitening"}))
    whitening(tmp_path)
    with pytest.raises(AutoencoderFormatError, match=f"is not supported for {architecture}"):
        load_autoencoder(tmp_path)


NASTY = ["7", 3.5, 1e30, 10**30, -1, 0, True, None, [], {}, float("nan"), float("inf"), "x" * 10_000, [[[]]]]


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated", "matching_pursuit", "temporal"])
def test_every_setting_with_nasty_values_is_right_or_refused(tmp_path: Path, architecture: str) -> None:
    options = {"temporal": {"n_heads": 2, "bottleneck_factor": 6, "kval_topk": 5}, "topk": {"k": 3}}
    sae_class, config_class = get_sae_class(architecture)
    sae = randomised(sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **options.get(architecture, {}))))
    if architecture == "jumprelu":
        sae.threshold.data.abs_()
    sae.save_model(tmp_path)
    path = tmp_path / "cfg.json"
    whole = json.loads(path.read_text())
    keys = [*whole, "activation_fn", "activation_fn_kwargs", "hook_name", "hook_head_index"]
    inputs, messages = INPUTS.unflatten(0, (4, 10)), []
    for key in keys:
        for value in NASTY:
            for changed in ({**whole, key: value}, {**whole, "metadata": {**whole["metadata"], key: value}}):
                path.write_text(json.dumps(changed))
                try:
                    ours, _ = load_autoencoder(tmp_path)
                    assert ours.reconstruct(inputs).shape == inputs.shape
                except AutoencoderFormatError as error:
                    messages.append(str(error))
    assert len(messages) > 20
    assert max(map(len, messages)) < 1000
    for content in (b"", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"[]", b"1" * 10_000):
        path.write_bytes(content)
        with pytest.raises(AutoencoderFormatError):
            load_autoencoder(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
@pytest.mark.parametrize(("architecture", "name"), [("jumprelu", "threshold"), ("batchtopk", "topk_threshold")])
def test_thresholds_must_be_finite_and_not_negative(tmp_path: Path, architecture: str, name: str, value: float) -> None:
    if architecture == "batchtopk":
        training(architecture, tmp_path, "none", k=3)
    else:
        sae_class, config_class = get_sae_class(architecture)
        randomised(sae_class(config_class(d_in=D_IN, d_sae=D_SAE))).save_model(tmp_path)
    path = tmp_path / "sae_weights.safetensors"
    weights = load_file(path)
    weights[name] = torch.full_like(weights[name], 0.3)
    if weights[name].ndim:
        weights[name][3] = value
    else:
        weights[name].fill_(value)
    save_file(weights, path)
    with pytest.raises(AutoencoderFormatError, match="threshold"):
        load_autoencoder(tmp_path)
