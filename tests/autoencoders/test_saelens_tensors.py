"""Folders of SAELens whose tensors are of several dtypes, are more than the architecture has, or need old settings."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

sae_lens = pytest.importorskip("sae_lens")

import neuron_explainer as ne  # noqa: E402
from neuron_explainer.errors import AutoencoderFormatError  # noqa: E402
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder  # noqa: E402
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder  # noqa: E402

D_IN, D_SAE = 12, 30
GENERATOR = torch.Generator().manual_seed(3)
INPUTS = torch.randn(40, D_IN, generator=GENERATOR) + 1
TENSORS = {
    "W_enc": torch.randn(D_IN, D_SAE, generator=GENERATOR),
    "b_enc": torch.randn(D_SAE, generator=GENERATOR),
    "W_dec": torch.randn(D_SAE, D_IN, generator=GENERATOR),
    "b_dec": torch.randn(D_IN, generator=GENERATOR),
}
OLD = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "device": "cpu", "hook_name": "blocks.1.hook_resid_pre"}


def folder(path: Path, tensors: dict[str, torch.Tensor], **settings: Any) -> Path:
    (path / "cfg.json").write_text(json.dumps(OLD | settings))
    save_file(tensors, path / "sae_weights.safetensors")
    return path


def assert_as_in_saelens(path: Path) -> None:
    ours, theirs = load_autoencoder(path, "cpu")[0], sae_lens.SAE.load_from_disk(path, device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS))
        torch.testing.assert_close(ours.reconstruct(INPUTS), theirs(INPUTS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_matrices_in_half_precision_beside_other_biases(tmp_path: Path, dtype: torch.dtype) -> None:
    mixed = {name: tensor.to(dtype) if tensor.ndim == 2 else tensor for name, tensor in TENSORS.items()}
    assert_as_in_saelens(folder(tmp_path, mixed))
    state_dict = {
        "encoder.weight": mixed["W_enc"].T,
        "decoder.weight": mixed["W_dec"].T,
        "pre_bias": mixed["b_dec"],
        "latent_bias": mixed["b_enc"],
    }
    of_openai = load_autoencoder(state_dict, "cpu")[0]
    torch.testing.assert_close(of_openai.encode(INPUTS), load_autoencoder(tmp_path, "cpu")[0].encode(INPUTS))
    direct = Autoencoder(mixed["W_enc"].T, mixed["W_dec"].T, mixed["b_dec"], mixed["b_enc"])
    assert direct.dtype == direct.encode(INPUTS).dtype == torch.float32


def test_a_whitening_of_another_dtype_than_the_weights(tmp_path: Path) -> None:
    matrix = torch.eye(D_IN) + torch.ones(D_IN, D_IN) / 64
    whitening = {"mean": torch.ones(D_IN), "matrix": matrix, "inverse_matrix": matrix.inverse().contiguous()}
    save_file(whitening, tmp_path / "activation_whitening.safetensors")
    settings = {"architecture": "standard", "normalize_activations": "covariance_whitening"}
    folder(tmp_path, {name: tensor.bfloat16() for name, tensor in TENSORS.items()}, **settings)
    half = load_autoencoder(tmp_path, "cpu")[0]
    folder(tmp_path, {name: tensor.bfloat16().float() for name, tensor in TENSORS.items()}, **settings)
    whole = load_autoencoder(tmp_path, "cpu", torch.bfloat16)[0]
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.encoder_weight, whole.encoder_weight, rtol=0, atol=0)
    torch.testing.assert_close(half.decoder_weight, whole.decoder_weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"architecture": "topk", "activation_fn_str": "relu", "activation_fn_kwargs": {"k": 4}},
        {"architecture": "topk", "k": 6, "activation_fn_kwargs": {"k": 4}},
        {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}},
    ],
)
def test_an_old_top_k_has_its_k_among_the_activation_s_settings(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert_as_in_saelens(folder(tmp_path, TENSORS, **settings))
    latents = load_autoencoder(tmp_path, "cpu")[0].encode(INPUTS)
    assert int((latents != 0).sum(-1).max()) == 4


@pytest.mark.parametrize(
    ("settings", "tensors"),
    [
        ({}, {"threshold": torch.ones(D_SAE)}),
        ({}, {"W_skip": torch.ones(D_IN, D_IN)}),
        ({"architecture": "jumprelu"}, {"threshold": torch.ones(D_SAE), "log_threshold": torch.ones(D_SAE)}),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}}, {"threshold": torch.ones(D_SAE)}),
    ],
)
def test_tensors_of_another_architecture_are_refused(
    tmp_path: Path, settings: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> None:
    folder(tmp_path, {**TENSORS, **tensors}, **settings)
    with pytest.raises(AutoencoderFormatError, match=r"has no tensor '.*, but the weights do"):
        load_autoencoder(tmp_path, "cpu")


@pytest.mark.parametrize("says_so", [True, False])
def test_finetuning_factors_are_refused_unless_they_change_nothing(tmp_path: Path, says_so: bool) -> None:
    settings = {"finetuning_scaling_factor": says_so}
    assert_as_in_saelens(folder(tmp_path, {**TENSORS, "scaling_factor": torch.ones(D_SAE)}, **settings))
    folder(tmp_path, {**TENSORS, "scaling_factor": torch.full((D_SAE,), 1.5)}, **settings)
    with pytest.raises(AutoencoderFormatError, match="finetuning_scaling_factor"):
        load_autoencoder(tmp_path, "cpu")


def test_a_transcoder_that_would_subtract_its_output_s_bias_is_refused(tmp_path: Path) -> None:
    settings = {"architecture": "transcoder", "d_out": D_IN, "metadata": {}}
    folder(tmp_path, TENSORS, **settings, apply_b_dec_to_input=True)
    with pytest.raises(AutoencoderFormatError, match="apply_b_dec_to_input"):
        load_autoencoder(tmp_path, "cpu")


def test_a_folder_without_its_whitening_says_what_it_is_for(tmp_path: Path) -> None:
    folder(tmp_path, TENSORS, normalize_activations="covariance_whitening")
    with pytest.raises(AutoencoderFormatError, match=r"whitened in training, but activation_whitening\.\S+ cannot"):
        load_autoencoder(tmp_path, "cpu")
    assert load_file(tmp_path / "sae_weights.safetensors").keys() == TENSORS.keys()


def test_state_dicts_in_memory_with_tensors_that_are_not_plain_are_refused() -> None:
    plain = {
        "encoder.weight": TENSORS["W_enc"].T,
        "decoder.weight": TENSORS["W_dec"].T,
        "pre_bias": TENSORS["b_dec"],
        "latent_bias": TENSORS["b_enc"],
    }
    sparse, meta = plain["encoder.weight"].to_sparse(), plain["encoder.weight"].to("meta")
    for tensor, kind in ((sparse, "layout torch.sparse_coo"), (meta, "device meta")):
        with pytest.raises(ValueError, match=rf"the state dict: tensor 'encoder.weight' is .*{kind}"):
            load_autoencoder({**plain, "encoder.weight": tensor}, "cpu")


def test_folders_by_layer_say_their_place(tmp_path: Path) -> None:
    paths = {}
    for layer in (1, 3):
        (tmp_path / str(layer)).mkdir()
        paths[layer] = folder(tmp_path / str(layer), TENSORS, hook_name=f"blocks.{layer}.hook_mlp_out")
    context = ne.load_autoencoders(paths, device="cpu")
    assert (context.dst, list(context.layer_indices)) == (ne.DerivedScalarType.RESID_DELTA_MLP, [1, 3])
    assert list(ne.load_autoencoders(paths, layers=3, device="cpu").layer_indices) == [3]
    with pytest.raises(ValueError, match="is of layer 1, but is used as one of layer 2"):
        ne.load_autoencoders({2: paths[1]}, device="cpu").get_autoencoder(2)
