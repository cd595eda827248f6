"""Autoencoders by release and id, or by repository and folder: the same as SAELens loads from the same files.

They are loaded from a hub's cache without a connection; once from a server on this machine.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import neuron_explainer as ne
from helpers.hub_cache import COMMIT, cached_folder
from helpers.loopback_server import Handler, LoopbackServer, loopback_server
from neuron_explainer.errors import (
    AutoencoderFormatError,
    AutoencoderMismatchError,
    CheckpointNotFoundError,
    InvalidRequestError,
    MalformedCheckpointError,
    MissingFileError,
    UnknownNameError,
)
from neuron_explainer.models.autoencoders.published import format as published_format
from neuron_explainer.models.autoencoders.published import locating, release_table, saelens_loader
from neuron_explainer.models.autoencoders.published.gemma_scope import GemmaScopeForm, is_of_gemma_scope
from neuron_explainer.models.autoencoders.published.locating import names_of_layers, published
from neuron_explainer.models.autoencoders.saelens.config import dst_and_layer_of_hook
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder
from neuron_explainer.models.hub import connection

sae_lens = pytest.importorskip("sae_lens")
loaders = pytest.importorskip("sae_lens.loading.pretrained_sae_loaders")

D_IN, D_SAE = 12, 29
INPUTS = torch.randn(2, 5, D_IN, generator=torch.Generator().manual_seed(1)) * 3 + 0.5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(connection, "_unreachable_since", {})
    return tmp_path / "hub"


def weights(seed: int = 0, d_out: int = D_IN) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.4

    return {
        "W_enc": random(D_IN, D_SAE),
        "W_dec": random(D_SAE, d_out),
        "b_enc": random(D_SAE),
        "b_dec": random(d_out),
        "threshold": random(D_SAE).abs(),
    }


def without_thresholds(seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights(seed).items() if name != "threshold"}


def old_settings(hook: str, **others: Any) -> dict[str, Any]:
    """What the `cfg.json` of a published autoencoder has; most are from before version 6."""
    return {
        "model_name": "gpt2-small",
        "hook_point": hook,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "torch.float32",
        "device": "cpu",
        **others,
    }


def save_release(cache: Path, release: str, *ids: str, **settings: Any) -> None:
    entry = release_table.releases()[release]
    for number, sae_id in enumerate(ids):
        folder = cached_folder(cache, entry.repo_id, entry.folder_by_id[sae_id])
        (folder / "cfg.json").write_text(json.dumps(old_settings(sae_id, **settings)))
        save_file(without_thresholds(number), folder / "sae_weights.safetensors")


def from_saelens(release: str, sae_id: str) -> Any:
    """What SAELens loads. It warns its users that a model's weights had been centred."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sae_lens.SAE.from_pretrained(release, sae_id)


def assert_same(ours: Any, theirs: Any, inputs: torch.Tensor = INPUTS) -> None:
    with torch.no_grad():
        latents, output = theirs.encode(inputs), theirs(inputs)
    assert (latents != 0).any()
    torch.testing.assert_close(ours.encode(inputs), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.reconstruct(inputs), output, rtol=1e-5, atol=1e-5)


def test_a_release_of_saelens(cache: Path) -> None:
    save_release(cache, "gpt2-small-resid-mid-v5-32k", "blocks.8.hook_resid_mid", normalize_activations="layer_norm")
    ours, origin = ne.load_autoencoder("gpt2-small-resid-mid-v5-32k", "blocks.8.hook_resid_mid", device="cpu")
    assert_same(ours, from_saelens("gpt2-small-resid-mid-v5-32k", "blocks.8.hook_resid_mid"))
    assert (origin.dst, origin.layer_index, origin.base_model_name) == ("resid_post_attn", 8, "gpt2-small")
    in_any_case, _ = ne.load_autoencoder("GPT2-small-resid-mid-v5-32K#blocks.8.hook_resid_mid", "cpu", torch.float64)
    torch.testing.assert_close(in_any_case.encode(INPUTS.double()), ours.encode(INPUTS).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("has_table", [True, False])
def test_what_the_table_adds_is_applied(cache: Path, has_table: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """These are of a model with centred weights, which `cfg.json` does not say. SAELens leaves it to its user."""
    save_release(cache, "gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    theirs = from_saelens("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    if not has_table:
        monkeypatch.setattr(release_table, "_table_file", lambda: None)
    sources = [("gpt2-small-res-jb", "blocks.8.hook_resid_pre")] if has_table else []
    for source, sae_id in [*sources, ("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre")]:
        ours, origin = ne.load_autoencoder(source, sae_id, device="cpu")
        means = INPUTS.mean(-1, keepdim=True)
        with torch.no_grad():
            torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS - means), rtol=1e-5, atol=1e-5)
        assert (origin.dst, origin.layer_index) == ("previous_layer_resid_post_mlp", 8)
        assert "center_writing_weights" in "".join(ours.applied)


def test_a_scale_that_only_the_table_has(cache: Path) -> None:
    release, sae_id = "gpt2-small-mlp-tm", "blocks.3.hook_mlp_out"
    save_release(cache, release, sae_id, normalize_activations="expected_average_only_in")
    ours, _ = ne.load_autoencoder(release, sae_id, device="cpu")
    means = INPUTS.mean(-1, keepdim=True)
    theirs = from_saelens(release, sae_id)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS - means), rtol=1e-5, atol=1e-5)
    assert "as published" in "".join(ours.applied)


def save_gemma_scope(cache: Path, repo_id: str, folder: str) -> None:
    where = cached_folder(cache, repo_id, folder)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in weights().items()}
    np.savez(where / "params.npz", **arrays)


@pytest.mark.parametrize(
    ("place", "dst"), [("res", "resid_post_mlp"), ("mlp", "resid_delta_mlp"), ("att", "attn_weighted_sum_of_values")]
)
def test_gemma_scope(cache: Path, place: str, dst: str) -> None:
    release, sae_id = f"gemma-scope-2b-pt-{place}-canonical", "layer_20/width_16k/canonical"
    folder = release_table.releases()[release].folder_by_id[sae_id]
    save_gemma_scope(cache, f"google/gemma-scope-2b-pt-{place}", folder)
    ours, origin = ne.load_autoencoder(release, sae_id, device="cpu")
    assert (origin.dst, origin.layer_index, origin.base_model_name) == (dst, 20, "gemma-2-2b")
    assert (origin.n_inputs, origin.architecture) == (D_IN, "jumprelu")
    sizes = {"d_in": D_IN, "d_sae": D_SAE}  # SAELens takes them from the names
    settings, tensors, _ = loaders.gemma_2_sae_huggingface_loader(
        f"google/gemma-scope-2b-pt-{place}", folder, "cpu", False, sizes
    )
    assert_same(ours, _saelens_object(loaders.handle_config_defaulting(settings), tensors))
    by_repository, _ = ne.load_autoencoder(f"google/gemma-scope-2b-pt-{place}", folder, device="cpu")
    torch.testing.assert_close(by_repository.encode(INPUTS), ours.encode(INPUTS), rtol=0, atol=0)


def _saelens_object(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    sae_class, config_class = sae_lens.registry.get_sae_class(settings["architecture"])
    made = sae_class(config_class.from_dict(settings))
    if "Transcoder" not in type(made).__name__ and hasattr(made, "turn_off_forward_pass_hook_z_reshaping"):
        made.turn_off_forward_pass_hook_z_reshaping()
    made.load_state_dict(tensors)
    return made


def test_transcoders_of_gemma_scope(cache: Path) -> None:
    release = "gemma-scope-2b-pt-transcoders"
    repository = f"google/{release}"
    by_id = release_table.releases()[release].folder_by_id
    sae_id = next(each for each in by_id if each.startswith("layer_5/"))
    save_gemma_scope(cache, repository, by_id[sae_id])
    ours, origin = ne.load_autoencoder(release, sae_id, device="cpu")
    assert isinstance(ours, Transcoder)
    assert (origin.dst, origin.layer_index, ours.reads) == ("resid_delta_mlp", 5, "ln2.hook_normalized")
    sizes = {"d_in": D_IN, "d_sae": D_SAE, "d_out": D_IN}
    settings, tensors, _ = loaders.gemma_2_transcoder_huggingface_loader(
        "google/gemma-scope-2b-pt-transcoders",
        by_id[sae_id],
        "cpu",
        False,
        sizes,
    )
    theirs = _saelens_object(loaders.handle_config_defaulting(settings), tensors)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(INPUTS), theirs.encode(INPUTS), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.decode(ours.encode(INPUTS)), theirs(INPUTS), rtol=1e-5, atol=1e-5)


def save_llama_scope(cache: Path, release: str, sae_id: str, **settings: Any) -> None:
    entry = release_table.releases()[release]
    folder = cached_folder(cache, entry.repo_id, entry.folder_by_id[sae_id])
    (folder / "checkpoints").mkdir(exist_ok=True)
    known = {
        "hook_point_in": "blocks.15.hook_resid_post",
        "hook_point_out": "blocks.15.hook_resid_post",
        "d_model": D_IN,
        "d_sae": D_SAE,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.3,
        "use_glu_encoder": False,
        "dataset_average_activation_norm": {"in": 1.7, "out": 1.7},
    }
    (folder / "hyperparams.json").write_text(json.dumps(known | settings))
    tensors = weights()
    stored = {
        "encoder.weight": tensors["W_enc"].T.contiguous(),
        "encoder.bias": tensors["b_enc"],
        "decoder.weight": tensors["W_dec"].T.contiguous(),
        "decoder.bias": tensors["b_dec"],
    }
    save_file(
        {name: tensor.bfloat16() for name, tensor in stored.items()}, folder / "checkpoints" / "final.safetensors"
    )


def test_llama_scope(cache: Path) -> None:
    release, sae_id = "llama_scope_lxr_8x", "l15r_8x"
    save_llama_scope(cache, release, sae_id)
    ours, origin = ne.load_autoencoder(release, sae_id, device="cpu")
    assert ours.dtype == torch.float32
    assert (origin.dst, origin.layer_index, origin.base_model_name) == ("resid_post_mlp", 15, "meta-llama/Llama-3.1-8B")
    assert_same(ours, from_saelens(release, sae_id), INPUTS / 50)
    # Without the table, the scale is that of the file.
    alone, _ = ne.load_autoencoder("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x", "cpu")
    torch.testing.assert_close(alone.encode(INPUTS), ours.encode(INPUTS), rtol=0, atol=0)
    in_half, _ = ne.load_autoencoder(release, sae_id, device="cpu", dtype="bfloat16")
    assert in_half.dtype == torch.bfloat16


def test_llama_scope_without_the_table(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_llama_scope(cache, "llama_scope_lxr_8x", "l15r_8x")
    monkeypatch.setattr(release_table, "_table_file", lambda: None)
    ours, _ = ne.load_autoencoder("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x", device="cpu")
    scale = D_IN**0.5 / 1.7
    tensors = {name: tensor.bfloat16().float() for name, tensor in weights().items()}
    before = INPUTS * scale @ tensors["W_enc"] + tensors["b_enc"]
    expected = before.relu() * (before > 0.3 * scale)
    torch.testing.assert_close(ours.encode(INPUTS), expected, rtol=1e-5, atol=1e-5)
    decoded = (expected @ tensors["W_dec"] + tensors["b_dec"]) / scale
    torch.testing.assert_close(ours.reconstruct(INPUTS), decoded, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"act_fn": "topk"}, "act_fn 'topk' in hyperparams.json is not supported"),
        ({"use_glu_encoder": True}, "use_glu_encoder True"),
        ({"hook_point_out": "blocks.15.hook_mlp_out"}, "hook_point_out 'blocks.15.hook_mlp_out', which is not hook_p"),
        ({"dataset_average_activation_norm": {}}, "a missing or negative dataset_average_activation_norm"),
        ({"jump_relu_threshold": -1}, "a missing or negative"),
        ({"d_sae": "many"}, "d_sae in cfg.json is 'many'"),
        ({"d_sae": D_SAE + 1}, "with d_in 12 and d_sae 30"),
    ],
)
def test_what_llama_scope_does_not_have(cache: Path, settings: dict[str, Any], message: str) -> None:
    save_llama_scope(cache, "llama_scope_lxr_8x", "l15r_8x", **settings)
    with pytest.raises(AutoencoderFormatError, match=message):
        ne.load_autoencoder("llama_scope_lxr_8x", "l15r_8x", device="cpu")


def test_a_form_that_only_saelens_reads(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, sae_id = "sae_bench_pythia70m_sweep_standard_ctx128_0712", "blocks.3.hook_resid_post__trainer_10"
    entry = release_table.releases()[release]
    folder = cached_folder(cache, entry.repo_id, entry.folder_by_id[sae_id])
    trainer = {
        "layer": 3,
        "dict_class": "AutoEncoder",
        "activation_dim": D_IN,
        "dict_size": D_SAE,
        "lm_name": "EleutherAI/pythia-70m-deduped",
    }
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
    tensors = weights()
    stored = {
        "encoder.weight": tensors["W_enc"].T.contiguous(),
        "decoder.weight": tensors["W_dec"].T.contiguous(),
        "encoder.bias": tensors["b_enc"],
        "bias": tensors["b_dec"],
    }
    torch.save(stored, folder / "ae.pt")
    ours, origin = ne.load_autoencoder(release, sae_id, device="cpu")
    assert_same(ours, from_saelens(release, sae_id))
    assert (origin.dst, origin.layer_index, origin.base_model_name) == ("resid_post_mlp", 3, "pythia-70m-deduped")
    context = ne.load_autoencoders(release, sae_id=sae_id, device="cpu")
    assert context.layer_indices == (3,)
    torch.testing.assert_close(context.get_autoencoder(3).encode(INPUTS), ours.encode(INPUTS))
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    with pytest.raises(AutoencoderFormatError, match=r"torch \(2\.5\.1, .*could run code"):
        ne.load_autoencoder(release, sae_id, device="cpu")
    monkeypatch.undo()
    assert saelens_loader._pickles_are_only_weights()


def test_what_saelens_says_of_a_file_that_it_cannot_read(cache: Path) -> None:
    release, sae_id = "sae_bench_pythia70m_sweep_standard_ctx128_0712", "blocks.3.hook_resid_post__trainer_10"
    entry = release_table.releases()[release]
    folder = cached_folder(cache, entry.repo_id, entry.folder_by_id[sae_id])
    (folder / "config.json").write_text("{}")
    with pytest.raises(AutoencoderFormatError, match="own loader reads, and it failed: KeyError: 'trainer'"):
        ne.load_autoencoder(release, sae_id, device="cpu")


def test_all_layers_of_a_release(cache: Path) -> None:
    ids = [f"blocks.{layer}.hook_resid_mid" for layer in range(12)]
    save_release(cache, "gpt2-small-resid-mid-v5-32k", *ids)
    context = ne.load_autoencoders("gpt2-small-resid-mid-v5-32k", device="cpu")
    assert (context.dst, context.layer_indices) == ("resid_post_attn", tuple(range(12)))
    assert context.autoencoder_config.base_model_name == "gpt2-small"
    assert context.autoencoder_config.name == "gpt2-small-resid-mid-v5-32k"
    torch.testing.assert_close(context.get_autoencoder(5).encoder_weight.T, weights(5)["W_enc"])
    some = ne.load_autoencoders("gpt2-small-resid-mid-v5-32k", layers=[2, 3], device="cpu")
    assert some.layer_indices == (2, 3)
    listed = ne.load_autoencoders("gpt2-small-resid-mid-v5-32k", sae_id=ids[4:6], device="cpu")
    assert listed.layer_indices == (4, 5)
    by_text = ne.load_autoencoders({7: f"gpt2-small-resid-mid-v5-32k#{ids[7]}"}, device="cpu")
    assert by_text.layer_indices == (7,)
    with pytest.raises(AutoencoderMismatchError, match="trained on gpt2-small, but the model is tiny"):
        ne.load_autoencoders("gpt2-small-resid-mid-v5-32k", model=ne.load_model("tiny", device="cpu"))


def test_one_of_several_kinds_is_chosen(cache: Path) -> None:
    name = "gemma-scope-2b-pt-res-canonical"
    with pytest.raises(
        InvalidRequestError, match=r"several autoencoders of a layer.*layer_{layer}/width_65k/canonical"
    ):
        ne.load_autoencoders(name)
    # Nothing is downloaded: the names say what they are of.
    context = ne.load_autoencoders(name, sae_id="layer_{layer}/width_16k/canonical", device="cpu")
    assert context.layer_indices == tuple(range(26))
    assert context.autoencoder_config.base_model_name == "gemma-2-2b"
    some = ne.load_autoencoders(name, sae_id="layer_{layer}/width_16k/canonical", layers=[4, 9], device="cpu")
    assert some.layer_indices == (4, 9)
    with pytest.raises(UnknownNameError, match="layer_50/width_16k/canonical"):
        ne.load_autoencoders(name, sae_id="layer_{layer}/width_16k/canonical", layers=50)
    with pytest.raises(
        InvalidRequestError, match=r"no autoencoders 'layer_{layer}/width_17k/canonical'\. Choose one of: "
    ):
        ne.load_autoencoders(name, sae_id="layer_{layer}/width_17k/canonical")
    with pytest.raises(InvalidRequestError, match="sae_id is 'x', but the source is not a release"):
        ne.load_autoencoders(["a.pt"], sae_id="x")
    with pytest.raises(UnknownNameError, match="Unknown autoencoder 'nothing'"):
        ne.load_autoencoders("nothing", sae_id="x")
    with pytest.raises(InvalidRequestError, match=r"in memory has no sae_id\. Leave 'x' out"):
        ne.load_autoencoder({"encoder.weight": torch.zeros(2, 2)}, "x")
    with pytest.raises(InvalidRequestError, match="in memory have no sae_id"):
        ne.load_autoencoders({1: {"encoder.weight": torch.zeros(2, 2)}}, sae_id="x")
    assert names_of_layers("owner/name", "l{layer}", [1, 2]) == ["owner/name#l1", "owner/name#l2"]
    for sae_id, what in ((None, "sae_id, its folder"), ("l{layer}", "layers")):
        with pytest.raises(InvalidRequestError, match=f"owner/name is a repository on the hub, .* Give {what}"):
            names_of_layers("owner/name", sae_id, None)


def test_names_that_are_not_there(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown autoencoder '.*jp'\. Did you mean: gpt2-small-res-jb"):
        ne.load_autoencoder("gpt2-small-res-jp", "blocks.8.hook_resid_pre")
    with pytest.raises(
        UnknownNameError, match=r"autoencoder of gpt2-small-res-jb 'blocks\.12.*mean: blocks\.1\."
    ) as error:
        ne.load_autoencoder("gpt2-small-res-jb", "blocks.12.hook_resid_pre")
    assert len(error.value.choices) == 13
    with pytest.raises(
        InvalidRequestError, match=r"gpt2-small-res-jb is a release of several autoencoders\. Give sae_id"
    ):
        ne.load_autoencoder("gpt2-small-res-jb")
    with pytest.raises(CheckpointNotFoundError, match=r"owner/name is not in the .* for a/b/cfg\.json: HF_HUB_OFF"):
        ne.load_autoencoder("owner/name", "a/b")
    with pytest.raises(CheckpointNotFoundError, match=r"no repositories|cache has: "):
        ne.load_autoencoder("gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    with pytest.raises(MissingFileError, match="owner/name"):
        ne.load_autoencoders("owner/name")
    with pytest.raises(AutoencoderFormatError, match="embedding/width_4k/average_l0_6 does not name a layer's"):
        ne.load_autoencoder("gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6")
    (tmp_path / "saes" / "one").mkdir(parents=True)
    with pytest.raises(AutoencoderFormatError, match="saes/one' is not in an autoencoder format"):
        ne.load_autoencoder(tmp_path / "saes", "one")  # a folder in a folder
    monkeypatch.setattr(release_table, "_table_file", lambda: None)
    with pytest.raises(UnknownNameError, match=r"known by name where it is installed \(pip install sae-lens\)"):
        ne.load_autoencoder("gpt2-small-res-jb", "blocks.8.hook_resid_pre")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"no archive", AutoencoderFormatError, "params.npz is damaged or not an archive of NumPy arrays"),
        ({"W_enc": np.zeros((3, 2))}, AutoencoderFormatError, "has no matrices W_enc and W_dec"),
        ({"W_enc": np.array([{}, {}], object)}, AutoencoderFormatError, "Object arrays cannot be loaded"),
        ({"W_enc": np.zeros((3, 2)), "W_dec": np.zeros((2, 3))}, AutoencoderFormatError, "needs the tensor"),
        (None, MalformedCheckpointError, "unpacks to"),
    ],
)
def test_archives_that_are_damaged(cache: Path, content: Any, error: type[Exception], message: str) -> None:
    folder = cached_folder(cache, "google/gemma-scope-2b-pt-res", "layer_1/width_16k/average_l0_10")
    file = folder / "params.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is None:
        np.savez_compressed(file, W_enc=np.zeros((1000, 1000)))
    else:
        np.savez(file, **content)
    with pytest.raises(error, match=message):
        ne.load_autoencoder("google/gemma-scope-2b-pt-res", "layer_1/width_16k/average_l0_10", device="cpu")


def test_what_the_names_of_gemma_scope_say_is_what_saelens_says() -> None:
    """Of every autoencoder in its table, without any file."""
    n_compared = 0
    for release in release_table.releases().values():
        assert is_of_gemma_scope(release.repo_id) == ((release.conversion or "").startswith("gemma_2"))
        if not is_of_gemma_scope(release.repo_id):
            continue
        is_plain = release.conversion == "gemma_2"
        read = loaders.get_gemma_2_config_from_hf if is_plain else loaders.get_gemma_2_transcoder_config_from_hf
        for sae_id, folder in list(release.folder_by_id.items())[::7]:
            if folder.startswith("embedding"):
                continue
            form, files = published_format._opened(f"{release.name}#{sae_id}")
            assert isinstance(form, GemmaScopeForm)
            origin = form.describe(files)
            theirs = read(release.repo_id, folder, "cpu")
            hook = theirs["hook_name"].replace("ln2.hook_normalized", "hook_mlp_out")
            assert (origin.dst, origin.layer_index) == dst_and_layer_of_hook(hook, "a hook")
            assert origin.base_model_name == theirs["model_name"]
            n_compared += 1
    assert n_compared > 300


def test_every_release_can_be_taken_apart_by_layer() -> None:
    for release in release_table.releases().values():
        for pattern, by_layer in locating._by_pattern(list(release.folder_by_id)).items():
            assert "embedding" in pattern or "{layer}" in pattern, (release.name, pattern)
            for layer, sae_id in by_layer.items():
                assert published(f"{release.name}#{sae_id}").folder == release.folder_by_id[sae_id]
                assert layer is None or pattern.replace("{layer}", str(layer)) == sae_id


class RepositoryHandler(Handler):
    """Answers for the files of one repository as the hub does."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, LoopbackServer)
        server.requests.append((f"{self.command} {self.path}", {}))
        owner, name, _, _revision, *parts = self.path.lstrip("/").split("/")
        file = server.root / "/".join(parts)
        known = (owner, name) == ("fnlp", "Llama3_1-8B-Base-LXR-8x")
        body = file.read_bytes() if known and file.is_file() else b""
        self.send_response(200 if body else 404)
        if not body:
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(body)}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    save_llama_scope(tmp_path / "made", "llama_scope_lxr_8x", "l15r_8x")
    with loopback_server() as server:
        server.RequestHandlerClass = RepositoryHandler
        server.root = tmp_path / "made" / "models--fnlp--Llama3_1-8B-Base-LXR-8x" / "snapshots" / COMMIT
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield server


def test_from_the_hub(hub: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = ne.load_autoencoder("llama_scope_lxr_8x", "l15r_8x", device="cpu")
    assert ours.n_latents == D_SAE
    asked = [path.rpartition("/")[2] for path, _ in hub.requests if path.startswith("GET") and "/resolve/" in path]
    assert asked == ["hyperparams.json", "final.safetensors"]
    with pytest.raises(AutoencoderFormatError, match=r"L14R-8x' of .* on the hub has no hyperparams\.json"):
        ne.load_autoencoder("llama_scope_lxr_8x", "l14r_8x", device="cpu")
    with pytest.raises(UnknownNameError, match="Unknown repository on the Hugging Face hub 'owner/nothing'"):
        ne.load_autoencoder("owner/nothing", "a/b", device="cpu")
    monkeypatch.setattr(release_table, "_table_file", lambda: None)
    with pytest.raises(AutoencoderFormatError, match=r"neither cfg\.json .* nor hyperparams\.json.*pip install"):
        ne.load_autoencoder("fnlp/Llama3_1-8B-Base-LXR-8x", "a/b", device="cpu")
    alone, _ = ne.load_autoencoder("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x", device="cpu")
    assert alone.n_latents == D_SAE
    hub.go_away()
    monkeypatch.setattr(connection, "_unreachable_since", {})
    assert ne.load_autoencoder("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x", device="cpu")[0].n_latents
