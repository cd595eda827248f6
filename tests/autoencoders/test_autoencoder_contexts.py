"""Autoencoders of many layers: loaded from files when they are asked for, named, told apart, refused."""

import functools
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.autoencoder_files import N_LATENTS, state_dict
from neuron_explainer.errors import (
    AutoencoderFormatError,
    AutoencoderMismatchError,
    InvalidRequestError,
    MalformedCheckpointError,
    MisconfiguredError,
    MissingFileError,
    UnknownNameError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.autoencoder_context import (
    AutoencoderConfig,
    AutoencoderContext,
    MultiAutoencoderContext,
)
from neuron_explainer.models.autoencoders.load_autoencoder import load_autoencoder
from neuron_explainer.models.autoencoders.load_autoencoders import load_autoencoders
from neuron_explainer.models.autoencoders.locating import autoencoder_config
from neuron_explainer.models.autoencoders.named import named_autoencoders
from neuron_explainer.models.autoencoders.openai_files import autoencoder_from_state_dict
from neuron_explainer.models.autoencoders.origin import same_base_model
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for layer in (0, 2):
        statistics = torch.tensor([0, 0, 0, 10**9, 0, 10**9 * layer])
        torch.save(state_dict(layer, stats_last_nonzero=statistics), tmp_path / f"{layer}.pt")
    return tmp_path


def test_autoencoders_are_loaded_when_asked_for_and_once(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(path: Path) -> Any:
        read.append(str(path))
        return read_pytorch_file(path)

    monkeypatch.setattr("neuron_explainer.models.autoencoders.openai_files.read_pytorch_file", noted)
    context = load_autoencoders(files, DerivedScalarType.MLP_POST_ACT)
    assert context.layer_indices == (0, 2)
    assert not read
    first = context.get_autoencoder(2)
    assert context.get_autoencoder(2) is first
    assert read == [str(files / "2.pt")]
    torch.testing.assert_close(first.encoder_weight, state_dict(2)["encoder.weight"])
    with pytest.raises(AutoencoderMismatchError, match=r"mlp_post_act has no autoencoder for layer 1\. Layers: 0, 2"):
        context.get_autoencoder(1)


def test_dead_latents_are_left_out_of_a_context_when_asked(files: Path) -> None:
    context = load_autoencoders(files, DerivedScalarType.MLP_POST_ACT, omit_dead_latents=True)
    assert context.get_autoencoder(0).n_latents == 5
    assert context.get_autoencoder(2).n_latents == 4
    with pytest.raises(MisconfiguredError, match="different numbers of latents"):
        _ = context.n_latents
    assert load_autoencoders(files, DerivedScalarType.MLP_POST_ACT).n_latents == 6


def test_different_numbers_of_latents_are_told_whatever_was_loaded_before(files: Path) -> None:
    fewer = {name: each[:, :4] if name == "decoder.weight" else each for name, each in state_dict(2).items()}
    fewer |= {name: each[:4] for name, each in fewer.items() if len(each) == N_LATENTS}
    torch.save(fewer, files / "2.pt")
    contexts = [load_autoencoders(files, DerivedScalarType.MLP_POST_ACT) for _ in range(2)]
    assert [contexts[1].get_autoencoder(layer).n_latents for layer in (0, 2)] == [N_LATENTS, 4]
    for context in contexts:
        with pytest.raises(MisconfiguredError, match="different numbers of latents"):
            _ = context.n_latents


def test_sources_by_template_mapping_and_layers(files: Path) -> None:
    dst = DerivedScalarType.RESID_DELTA_ATTN
    template = f"{files}/{{layer}}.pt"
    by_template = load_autoencoders(template, dst, layers=[2])
    assert by_template.layer_indices == (2,)
    by_mapping = load_autoencoders({7: files / "2.pt"}, dst)
    torch.testing.assert_close(by_mapping.get_autoencoder(7).pre_bias, by_template.get_autoencoder(2).pre_bias)
    with pytest.raises(InvalidRequestError, match="Give `layers`"):
        load_autoencoders(template, dst)
    with pytest.raises(InvalidRequestError, match="Give dst"):
        load_autoencoders(files)
    with pytest.raises(InvalidRequestError, match=r"no autoencoders for layers \[1\]"):
        load_autoencoders(files, dst, layers=[0, 1])
    with pytest.raises(MissingFileError):
        load_autoencoders(files / "nothing_here", dst)


@pytest.mark.parametrize("name", ["ae-mlp-post-act-v1", "ae-mlp-post-act-v4", "ae-resid-delta-mlp-v1"])
def test_the_public_names(name: str) -> None:
    config = autoencoder_config(name)
    version = "" if name.endswith("v1") else "_v4"
    folder = config.dst.value + version
    root = "https://openaipublic.blob.core.windows.net/sparse-autoencoder/gpt2-small"
    assert config.autoencoder_path_by_layer_index[11] == f"{root}/{folder}/autoencoders/11.pt"
    assert len(config.autoencoder_path_by_layer_index) == 12
    assert config.base_model_name == "gpt2-small"
    assert config.name == name


def test_names_that_are_not_known_are_answered_with_those_that_are() -> None:
    assert {"ae-resid-delta-mlp-v4", "ae-resid-delta-attn-v4"} <= set(named_autoencoders())
    with pytest.raises(UnknownNameError, match="Did you mean: ae-mlp-post-act-v1, ae-mlp-post-act-v4"):
        autoencoder_config("ae-mlp-post-act-v5")
    with pytest.raises(InvalidRequestError, match="is of mlp_post_act, not of resid_delta_mlp"):
        autoencoder_config("ae-mlp-post-act-v4", DerivedScalarType.RESID_DELTA_MLP)


@pytest.fixture
def address(files: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=5)


def test_a_url_is_read_through_the_disk_cache(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))
    context = load_autoencoders(f"{address}/{{layer}}.pt", DerivedScalarType.MLP_POST_ACT, layers=[2, 5])
    torch.testing.assert_close(context.get_autoencoder(2).pre_bias, state_dict(2)["pre_bias"])
    with pytest.raises(MissingFileError):
        context.get_autoencoder(5)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


def test_files_that_would_run_code_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "0.pt"
    torch.save(state_dict(activation=Hostile()), path)
    with pytest.raises(UnsupportedCheckpointError, match="could run code"):
        load_autoencoder(path)
    path.write_bytes(pickle.dumps(Hostile(), protocol=2))
    with pytest.raises((UnsupportedCheckpointError, MalformedCheckpointError)):
        load_autoencoder(path)
    assert "this must not run" not in capsys.readouterr().out


def test_damaged_files_are_refused(files: Path) -> None:
    content = (files / "0.pt").read_bytes()
    (files / "0.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(MalformedCheckpointError):
        load_autoencoder(files / "0.pt")
    torch.save([1, 2, 3], files / "0.pt")
    with pytest.raises(AutoencoderFormatError, match="holds an object of type list"):
        load_autoencoder(files / "0.pt")
    with pytest.raises(MissingFileError):
        load_autoencoder(files / "1.pt")


# Contexts


def in_memory(dst: DerivedScalarType, layers: tuple[int, ...] = (0, 1)) -> AutoencoderContext:
    autoencoders = {layer: autoencoder_from_state_dict(state_dict(layer)) for layer in layers}
    return AutoencoderContext.from_autoencoders(dst, autoencoders)


@pytest.mark.parametrize(
    ("dst", "node_type"),
    [
        (DerivedScalarType.MLP_POST_ACT, NodeType.MLP_AUTOENCODER_LATENT),
        (DerivedScalarType.RESID_DELTA_MLP, NodeType.MLP_AUTOENCODER_LATENT),
        (DerivedScalarType.RESID_DELTA_ATTN, NodeType.ATTENTION_AUTOENCODER_LATENT),
        (DerivedScalarType.RESID_POST_MLP, NodeType.AUTOENCODER_LATENT),
    ],
)
def test_contexts_know_the_kind_of_their_latents(dst: DerivedScalarType, node_type: NodeType) -> None:
    context = in_memory(dst)
    assert context.autoencoder_node_type is node_type
    assert context.dst is dst
    assert context.n_latents == N_LATENTS
    assert MultiAutoencoderContext.from_context_list([context]).get_autoencoder_context(node_type) is context


def test_several_contexts_are_told_apart_by_kind() -> None:
    mlp, attention = in_memory(DerivedScalarType.MLP_POST_ACT), in_memory(DerivedScalarType.RESID_DELTA_ATTN)
    both = MultiAutoencoderContext.from_context_list([mlp, attention])
    assert both.get_autoencoder_context(NodeType.MLP_AUTOENCODER_LATENT) is mlp
    assert both.get_autoencoder_context(NodeType.ATTENTION_AUTOENCODER_LATENT) is attention
    assert both.get_autoencoder_context() is None
    assert both.get_autoencoder_context(NodeType.AUTOENCODER_LATENT) is None
    assert both == MultiAutoencoderContext(
        {NodeType.MLP_AUTOENCODER_LATENT: mlp, NodeType.ATTENTION_AUTOENCODER_LATENT: attention}
    )
    only = MultiAutoencoderContext.from_context_list([mlp])
    assert only.get_autoencoder_context() is mlp
    with pytest.raises(MisconfiguredError, match="different node type"):
        MultiAutoencoderContext.from_context_list([mlp, in_memory(DerivedScalarType.RESID_DELTA_MLP)])
    with pytest.raises(MisconfiguredError, match="given for"):
        MultiAutoencoderContext({NodeType.ATTENTION_AUTOENCODER_LATENT: mlp})
    with pytest.raises(MisconfiguredError, match="at least one"):
        MultiAutoencoderContext({})


def test_places_without_autoencoders_are_refused() -> None:
    with pytest.raises(AutoencoderMismatchError, match=r"LOGITS are not supported\. Choose one of: MLP_POST_ACT"):
        AutoencoderConfig(DerivedScalarType.LOGITS, {})


def test_configs_are_equal_and_hash_by_what_they_say() -> None:
    dst = DerivedScalarType.MLP_POST_ACT
    one = AutoencoderConfig(dst, {1: "b", 0: Path("a")})
    other = AutoencoderConfig(dst, {0: Path("a"), 1: "b"})
    assert one == other
    assert hash(one) == hash(other)
    assert one != AutoencoderConfig(dst, {0: Path("a")})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt2", "gpt2-small", True),
        ("openai-community/gpt2", "gpt2-small", True),
        ("HuggingFaceTB/SmolLM2-135M", "smollm2-135m", True),
        ("/models/SmolLM2-135M.gguf", "smollm2-135m", True),
        ("gpt2-medium", "gpt2-small", False),
        ("pythia-70m", "pythia-70m-deduped", False),
    ],
)
def test_names_of_the_same_model(one: str, other: str, same: bool) -> None:
    assert same_base_model(one, other) is same
    assert same_base_model(other, one) is same


def test_names_and_any_whole_number_are_taken(files: Path) -> None:
    config = AutoencoderConfig("MLP_Post_Act", {2: "b", 0: "a"})
    assert config == AutoencoderConfig(DerivedScalarType.MLP_POST_ACT, {0: "a", 2: "b"})
    assert list(config.autoencoder_path_by_layer_index) == [0, 2]
    context = load_autoencoders(files, "mlp_post_act", layers=np.array([2]), dtype="float64")
    assert context.get_autoencoder(torch.tensor(2)) is context.get_autoencoder(2)
    assert context.get_autoencoder(2).dtype is torch.float64
    several = MultiAutoencoderContext.from_context_list([context, in_memory(DerivedScalarType.RESID_DELTA_ATTN)])
    assert several.get_autoencoder_context("MLP_AUTOENCODER_LATENT") is context
    with pytest.raises(UnknownNameError, match="Unknown derived scalar type 'mlp_post_akt'"):
        load_autoencoders(files, "mlp_post_akt")
    with pytest.raises(UnknownNameError, match="Unknown node type"):
        several.get_autoencoder_context("neuron")
    with pytest.raises(MisconfiguredError, match="-1 is not a layer"):
        AutoencoderConfig("mlp_post_act", {-1: "a"})
    with pytest.raises(InvalidRequestError, match=r"layers is \[-1\]"):
        load_autoencoders(files, "mlp_post_act", layers=[-1])


def test_a_file_that_does_not_say_its_place_is_given_by_layer(files: Path) -> None:
    with pytest.raises(AutoencoderFormatError, match=r"0\.pt does not say its place and layer\. Give .* a mapping"):
        load_autoencoders(files / "0.pt", "mlp_post_act")
    (files / "empty").mkdir()
    with pytest.raises(MissingFileError, match="the folder is not in a known format: SAELens folder"):
        load_autoencoders(files / "empty", "mlp_post_act")


def test_a_name_that_no_file_can_have_is_unknown() -> None:
    with pytest.raises(UnknownNameError):
        load_autoencoders("a" * 5000, "mlp_post_act")
    with pytest.raises(MissingFileError):
        load_autoencoders("a/" + "b" * 5000, "mlp_post_act")
