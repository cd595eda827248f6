"""Autoencoders that SAELens itself saved: the same latents and reconstructions as SAELens computes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sae_lens = pytest.importorskip("sae_lens")

from neuron_explainer.activations.derived_scalars import DerivedScalarType  # noqa: E402
from neuron_explainer.errors import (  # noqa: E402
    AutoencoderFormatError,
    AutoencoderMismatchError,
    InvalidRequestError,
)
from neuron_explainer.models.autoencoder_context import AutoencoderConfig, AutoencoderContext  # noqa: E402
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder  # noqa: E402
from neuron_explainer.models.autoencoders.load_autoencoders import load_autoencoders  # noqa: E402
from neuron_explainer.models.autoencoders.saelens.config import (  # noqa: E402
    dst_and_layer_of_hook,
    read_saelens_config,
)
from neuron_explainer.models.autoencoders.transcoder import load_transcoder  # noqa: E402
from neuron_explainer.vocabulary.dimensions import Dimension  # noqa: E402

D_IN, D_SAE = 12, 24
INPUTS = torch.randn(2, 5, D_IN, generator=torch.Generator().manual_seed(1)) * 3 + 0.5


def randomised(sae: Any, seed: int = 0) -> Any:
    """The same with every weight random, so that none of them can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
            if name == "threshold":
                parameter.abs_()
    return sae


def saved(architecture: str, folder: Path, **settings: Any) -> Any:
    """An autoencoder of SAELens, saved by it; its metadata says blocks.3.mlp.hook_post of gpt2-small."""
    metadata = sae_lens.saes.sae.SAEMetadata(
        model_name="gpt2-small", hook_name=settings.pop("hook_name", "blocks.3.mlp.hook_post")
    )
    for key in list(settings):
        if key.startswith("metadata_"):
            metadata[key.removeprefix("metadata_")] = settings.pop(key)
    from sae_lens.registry import get_sae_class

    sae_class, config_class = get_sae_class(architecture)
    sae = randomised(sae_class(config_class(d_in=D_IN, d_sae=D_SAE, metadata=metadata, **settings)))
    sae.save_model(folder)
    return sae


def assert_same(sae: Any, folder: Path, inputs: Tensor = INPUTS) -> None:
    ours, _ = load_autoencoder(folder)
    with torch.no_grad():
        latents = sae.encode(inputs)
        reconstructed = sae(inputs)
    assert (latents != 0).any()
    torch.testing.assert_close(ours.encode(inputs), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.reconstruct(inputs), reconstructed, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.encode(inputs, slice(3, 9)), latents[..., 3:9], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalize", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("subtracts_bias", [True, False])
@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("standard", {}),
        ("gated", {}),
        ("jumprelu", {}),
        ("topk", {"k": 3}),
        ("topk", {"k": 3, "rescale_acts_by_decoder_norm": True}),
        ("abstopk", {"k": 3}),
        ("abstopk", {"k": 4, "rescale_acts_by_decoder_norm": True}),
        ("matching_pursuit", {}),
        ("matching_pursuit", {"max_iterations": 3, "stop_on_duplicate_support": False, "residual_threshold": 0.0}),
    ],
)
def test_every_architecture_agrees_with_saelens(
    tmp_path: Path, architecture: str, settings: dict[str, Any], subtracts_bias: bool, normalize: str
) -> None:
    settings = {**settings, "apply_b_dec_to_input": subtracts_bias, "normalize_activations": normalize}
    assert_same(saved(architecture, tmp_path, **settings), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"kval_topk": 5},
        {"sae_diff_type": "relu"},
        {"kval_topk": 5, "tied_weights": False, "n_attn_layers": 2},
        {"kval_topk": 5, "apply_b_dec_to_input": False},
        {
            "kval_topk": 5,
            "normalize_activations": "constant_scalar_rescale",
            "activation_normalization_factor": 0.25,
        },
    ],
)
def test_temporal_autoencoders_agree_with_saelens(tmp_path: Path, settings: dict[str, Any]) -> None:
    sae = saved("temporal", tmp_path, n_heads=2, bottleneck_factor=6, **settings)
    ours, _ = load_autoencoder(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), sae.encode(INPUTS), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(INPUTS), sae(INPUTS), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(INPUTS[0]), sae(INPUTS)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidRequestError, match="needs the inputs"):
        ours.decode(ours.encode(INPUTS))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_batch_top_k_in_training_and_for_use(tmp_path: Path, architecture: str, rescale: bool) -> None:
    from sae_lens.registry import get_sae_training_class

    training_class, config_class = get_sae_training_class(architecture)
    options = {"matryoshka_widths": [8, D_SAE]} if architecture == "matryoshka_batchtopk" else {}
    training = randomised(
        training_class(config_class(d_in=D_IN, d_sae=D_SAE, k=3, rescale_acts_by_decoder_norm=rescale, **options))
    )
    training.topk_threshold.fill_(0.7)
    training.save_inference_model(tmp_path / "for_use")
    assert_same(sae_lens.SAE.load_from_disk(tmp_path / "for_use"), tmp_path / "for_use")
    # what a checkpoint of the training says is the same autoencoder
    training.save_model(tmp_path / "in_training")
    assert json.loads((tmp_path / "in_training/cfg.json").read_text())["architecture"] == architecture
    reference, _ = load_autoencoder(tmp_path / "for_use")
    ours, _ = load_autoencoder(tmp_path / "in_training")
    torch.testing.assert_close(ours.encode(INPUTS), reference.encode(INPUTS), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.reconstruct(INPUTS), reference.reconstruct(INPUTS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "architecture", ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"]
)
def test_transcoders_agree_with_saelens(tmp_path: Path, architecture: str) -> None:
    theirs = saved(architecture, tmp_path, d_out=7, apply_b_dec_to_input=False)
    ours, origin = load_transcoder(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.decode(ours.encode(INPUTS), INPUTS), theirs(INPUTS), rtol=1e-5, atol=1e-5)
    assert origin.architecture == architecture
    assert (origin.dst, origin.n_inputs, origin.n_outputs) == (None, D_IN, 7)  # it reads neurons
    if "skip" in architecture:
        with pytest.raises(InvalidRequestError, match="skip connection"):
            ours.decode(ours.encode(INPUTS))


def test_what_saelens_writes_is_all_known(tmp_path: Path) -> None:
    from sae_lens import registry

    from neuron_explainer.models.autoencoders.saelens.architectures import BUILDER_BY_ARCHITECTURE

    written = {*registry.SAE_CLASS_REGISTRY, *registry.SAE_TRAINING_CLASS_REGISTRY}
    assert written <= {*BUILDER_BY_ARCHITECTURE}


def test_an_input_scale_beside_unfinished_training_is_folded_in(tmp_path: Path) -> None:
    saved("standard", tmp_path, normalize_activations="expected_average_only_in")
    with pytest.raises(AutoencoderFormatError, match="does not give the factor"):
        load_autoencoder(tmp_path)
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 2.5, "has_whitening": false}')
    ours, _ = load_autoencoder(tmp_path)
    theirs = sae_lens.SAE.load_from_disk(tmp_path)
    theirs.fold_activation_norm_scaling_factor(2.5)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(INPUTS), theirs(INPUTS), rtol=1e-5, atol=1e-5)
    assert any("2.5" in said for said in ours.applied)


@pytest.mark.parametrize("subtracts_bias", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "gated"])
def test_an_input_whitening_is_folded_in(tmp_path: Path, architecture: str, subtracts_bias: bool) -> None:
    from safetensors.torch import save_file

    settings = {"normalize_activations": "covariance_whitening", "apply_b_dec_to_input": subtracts_bias}
    saved(architecture, tmp_path, **settings)
    with pytest.raises(AutoencoderFormatError, match="whitened in training"):
        load_autoencoder(tmp_path)
    generator = torch.Generator().manual_seed(5)
    mean, matrix = torch.randn(D_IN, generator=generator), torch.randn(D_IN, D_IN, generator=generator)
    whitening = {"mean": mean, "matrix": matrix, "inverse_matrix": matrix.inverse().contiguous()}
    save_file(whitening, tmp_path / "activation_whitening.safetensors")
    theirs = sae_lens.SAE.load_from_disk(tmp_path)
    theirs.fold_activation_whitening(mean, matrix, matrix.inverse())
    ours, _ = load_autoencoder(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.reconstruct(INPUTS), theirs(INPUTS), rtol=1e-4, atol=1e-4)


# SAELens tells that its own model is to be loaded with these options.
@pytest.mark.filterwarnings(r"ignore:\s*This SAE has non-empty model_from_pretrained_kwargs")
def test_centred_training_is_centred_here(tmp_path: Path) -> None:
    """A model with centred writing weights has a residual stream of mean 0; here the mean is taken off and put back."""
    options = {"center_writing_weights": True}
    sae = saved(
        "standard", tmp_path, hook_name="blocks.2.hook_resid_post", metadata_model_from_pretrained_kwargs=options
    )
    ours, _ = load_autoencoder(tmp_path)
    mean = INPUTS.mean(-1, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), sae.encode(INPUTS - mean))
        torch.testing.assert_close(ours.reconstruct(INPUTS), sae(INPUTS - mean) + mean)
    assert any("center_writing_weights" in said for said in ours.applied)


def test_configurations_before_version_6_are_read(tmp_path: Path) -> None:
    saved("topk", tmp_path / "new", k=3)
    weights = (tmp_path / "new/sae_weights.safetensors").read_bytes()
    old = tmp_path / "old"
    old.mkdir()
    (old / "sae_weights.safetensors").write_bytes(weights)
    config = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "hook_point": "blocks.3.mlp.hook_post",
        "model_name": "gpt2-small",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 3},
        "normalize_activations": False,
        "dtype": "float32",
    }
    (old / "cfg.json").write_text(json.dumps(config))
    assert_same(sae_lens.SAE.load_from_disk(old), old)
    origin = read_saelens_config(old).origin
    assert (origin.dst, origin.layer_index, origin.base_model_name) == ("mlp_post_act", 3, "gpt2-small")


@pytest.mark.parametrize(
    ("hook", "place", "layer_index"),
    [
        ("blocks.0.hook_resid_pre", "previous_layer_resid_post_mlp", 0),
        ("blocks.7.hook_resid_mid", "resid_post_attn", 7),
        ("blocks.7.hook_resid_post", "resid_post_mlp", 7),
        ("blocks.11.hook_attn_out", "resid_delta_attn", 11),
        ("blocks.11.hook_mlp_out", "resid_delta_mlp", 11),
        ("blocks.11.mlp.hook_pre", "mlp_pre_act", 11),
        ("blocks.11.mlp.hook_post", "mlp_post_act", 11),
        ("blocks.11.attn.hook_z", "attn_weighted_sum_of_values", 11),
    ],
)
def test_hooks_become_places(hook: str, place: str, layer_index: int) -> None:
    assert dst_and_layer_of_hook(hook, "here") == (DerivedScalarType(place), layer_index)


@pytest.mark.parametrize(
    "hook", ["blocks.1.hook_q", "blocks.hook_resid_pre", "hook_embed", "blocks.-1.hook_mlp_out", 3]
)
def test_other_hooks_are_refused(hook: object) -> None:
    with pytest.raises(AutoencoderFormatError, match="unsupported hook"):
        dst_and_layer_of_hook(hook, "here")


def test_a_context_from_folders_knows_its_place_layers_and_model(tmp_path: Path) -> None:
    saved("standard", tmp_path / "a")
    saved("standard", tmp_path / "b", hook_name="blocks.1.mlp.hook_post")
    context = load_autoencoders([tmp_path / "a", tmp_path / "b"])
    assert context.dst is DerivedScalarType.MLP_POST_ACT
    assert context.layer_indices == (1, 3)
    assert context.autoencoder_config.base_model_name == "gpt2-small"
    assert context.n_latents == D_SAE
    saved("standard", tmp_path / "c", hook_name="blocks.2.hook_mlp_out")
    with pytest.raises(AutoencoderFormatError, match="one place"):
        load_autoencoders([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(AutoencoderFormatError, match="both of layer 3"):
        load_autoencoders([tmp_path / "a", tmp_path / "a"])
    with pytest.raises(AutoencoderFormatError, match=r"here resid_delta_mlp\. .* is of mlp_post_act"):
        load_autoencoders(tmp_path / "a", DerivedScalarType.RESID_DELTA_MLP)


def test_what_is_refused_does_not_depend_on_what_was_loaded_before(tmp_path: Path) -> None:
    saved("standard", tmp_path / "a")
    config = AutoencoderConfig(DerivedScalarType.MLP_POST_ACT, {3: tmp_path / "a"})
    before, after = AutoencoderContext(config), AutoencoderContext(config)
    assert after.n_latents == D_SAE  # which loads it
    for context in (before, after):
        context.check_model(Model("gpt2-small"))
        with pytest.raises(AutoencoderMismatchError, match="trained on gpt2-small, but the model is pythia-70m"):
            context.check_model(Model("pythia-70m"))


def test_a_folder_used_as_another_place_or_layer_is_refused(tmp_path: Path) -> None:
    saved("standard", tmp_path)

    def load(dst: DerivedScalarType, layer_index: int, base: str | None = None) -> None:
        AutoencoderContext(AutoencoderConfig(dst, {layer_index: tmp_path}, base)).get_autoencoder(layer_index)

    load(DerivedScalarType.MLP_POST_ACT, 3, "gpt2")
    with pytest.raises(AutoencoderMismatchError, match="used as one of resid_delta_mlp"):
        load(DerivedScalarType.RESID_DELTA_MLP, 3)
    with pytest.raises(AutoencoderMismatchError, match="is of layer 3"):
        load(DerivedScalarType.MLP_POST_ACT, 4)


class Model:
    """As much of a model as is asked for its sizes."""

    def __init__(self, model_name: str, d_mlp: int = D_IN, n_layers: int = 6) -> None:
        self.model_name, self.n_layers, self._d_mlp = model_name, n_layers, d_mlp

    def get_dim_size(self, dimension: Dimension) -> int:
        assert dimension is Dimension.MLP_ACTS
        return self._d_mlp


def test_folders_are_held_against_the_model_before_their_weights_are_read(tmp_path: Path) -> None:
    saved("standard", tmp_path)
    (tmp_path / "sae_weights.safetensors").unlink()
    of_mapping = AutoencoderContext(AutoencoderConfig(DerivedScalarType.MLP_POST_ACT, {3: tmp_path}))
    of_mapping.check_model(Model("openai-community/gpt2"))
    for context in (of_mapping, load_autoencoders(tmp_path)):
        with pytest.raises(AutoencoderMismatchError, match="trained on gpt2-small, but the model is pythia-70m"):
            context.check_model(Model("pythia-70m"))
        with pytest.raises(AutoencoderMismatchError, match=r"reads .* 12 .* but mlp_post_act of gpt2-small has 13"):
            context.check_model(Model("gpt2-small", d_mlp=13))
        with pytest.raises(AutoencoderMismatchError, match=r"layers \[3\]"):
            context.check_model(Model("gpt2-small", n_layers=3))
    load_autoencoders(tmp_path, base_model_name="mine").check_model(Model("folder/mine"))
    elsewhere = AutoencoderContext(AutoencoderConfig(DerivedScalarType.MLP_POST_ACT, {4: tmp_path}))
    with pytest.raises(AutoencoderMismatchError, match="used as one of layer 4"):
        elsewhere.check_model(Model("gpt2-small"))


def change(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "unheard_of"}, "is not supported. Did you mean: standard, transcoder"),
        ({"architecture": None}, "architecture"),
        ({"architecture": "gated"}, "needs the tensor 'r_mag'"),
        ({"d_in": 5}, r"must be \(5, 24\)|must be \(5,\)"),
        ({"d_in": -1}, "d_in"),
        ({"d_in": "12"}, "must be of type int"),
        ({"d_sae": True}, "d_sae"),
        ({"normalize_activations": "unheard_of"}, "not supported"),
        ({"normalize_activations": "constant_scalar_rescale"}, "not supported"),
        ({"finetuning_scaling_factor": True}, "finetuning"),
    ],
)
def test_configurations_that_contradict_the_weights_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    saved("standard", tmp_path)
    change(tmp_path, **settings)
    with pytest.raises(AutoencoderFormatError, match=message):
        load_autoencoder(tmp_path)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    saved("standard", tmp_path)
    weights = tmp_path / "sae_weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-10])
    with pytest.raises(AutoencoderFormatError, match="cannot be read"):
        load_autoencoder(tmp_path)
    weights.unlink()
    with pytest.raises(AutoencoderFormatError, match="cannot be read"):
        load_autoencoder(tmp_path)
    (tmp_path / "cfg.json").write_text("[1, 2")
    with pytest.raises(AutoencoderFormatError, match="cannot be read"):
        load_autoencoder(tmp_path)
    (tmp_path / "cfg.json").write_text("[1, 2]")
    with pytest.raises(AutoencoderFormatError, match="not a JSON object"):
        load_autoencoder(tmp_path)
