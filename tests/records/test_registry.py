"""The registry of neuron datasets."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.neuron_records import INFO, TOKENS, neuron_record
from neuron_explainer.activation_server import neuron_datasets
from neuron_explainer.activation_server.load_neurons import (
    convert_dataset_path_to_short_name,
    resolve_neuron_dataset,
)
from neuron_explainer.activation_server.neuron_datasets import (
    NEURON_DATASET_METADATA_REGISTRY,
    NeuronDatasetMetadata,
    get_all_neuron_dataset_metadata,
    get_neuron_dataset_metadata_by_short_name_and_dst,
    register_dataset,
    register_neuron_dataset_metadata,
)
from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.activations.packed.writing import write_packed_dataset_info
from neuron_explainer.errors import (
    InvalidRequestError,
    MissingFileError,
    NeuronNotFoundError,
    UnknownDatasetError,
    UnknownNameError,
    UnsupportedLocationError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

BASE = "https://openaipublic.blob.core.windows.net/neuron-explainer/"
MLP = DerivedScalarType.MLP_POST_ACT
PUBLIC = [
    ("gpt2-xl", "mlp_post_act", "data/collated-activations/", 48, 6400),
    ("gpt2-small", "mlp_post_act", "gpt2_small_data/collated-activations/", 12, 3072),
    ("gpt2-small", "attn_write_norm", "gpt2_small/attn_write_norm/collated-activations-by-token-pair", 12, 12),
    (
        "gpt2-small_ae-mlp-post-act-v1",
        "mlp_autoencoder_latent",
        "gpt2_small/autoencoder_latent/mlp_post_act_v1/collated-activations",
        12,
        32768,
    ),
    (
        "gpt2-small_ae-resid-delta-mlp-v1",
        "mlp_autoencoder_latent",
        "gpt2_small/autoencoder_latent/resid_delta_mlp_v1/collated-activations",
        12,
        32768,
    ),
    (
        "gpt2-small_ae-mlp-post-act-v4",
        "mlp_autoencoder_latent",
        "gpt2_small/autoencoder_latent/mlp_post_act_v4/collated-activations",
        12,
        32768,
    ),
    (
        "gpt2-small_ae-resid-delta-mlp-v4",
        "mlp_autoencoder_latent",
        "gpt2_small/autoencoder_latent/resid_delta_mlp_v4/collated-activations",
        12,
        32768,
    ),
    (
        "gpt2-small_ae-resid-delta-attn-v4",
        "attention_autoencoder_latent",
        "gpt2_small/autoencoder_latent/resid_delta_attn_v4/collated-activations",
        12,
        10240,
    ),
    (
        "gpt2-small_ae-resid-delta-attn-v4",
        "flattened_attn_write_to_latent_summed_over_heads",
        "gpt2_small/autoencoder_latent/resid_delta_attn_v4/collated-activations-by-token-pair",
        12,
        10240,
    ),
]


@pytest.mark.parametrize(("short_name", "dst", "path", "n_layers", "n_components"), PUBLIC)
def test_the_public_datasets(short_name, dst, path, n_layers, n_components):
    metadata = get_neuron_dataset_metadata_by_short_name_and_dst(short_name, DerivedScalarType(dst))
    assert metadata.neuron_dataset_path == BASE + path
    assert metadata.size() == (n_layers, n_components)
    assert metadata.user_visible_name.startswith("GPT-2 ")
    assert metadata.layout == "json"


def test_the_visible_names_are_all_different_and_the_embedded_dataset_is_there():
    everything = get_all_neuron_dataset_metadata()
    assert len({metadata.user_visible_name for metadata in everything}) == len(everything) == 11
    assert {metadata.derived_scalar_type.value for metadata in everything if metadata.short_name == "tiny"} == {
        "mlp_post_act",
        "attn_write_norm",
    }


def test_the_table():
    table = ne.datasets()
    public = table[table["path"].str.startswith(BASE)]
    found = list(
        public[["short_name", "derived_scalar_type", "path", "n_layers", "n_components"]].itertuples(index=False)
    )
    assert [tuple(row) for row in found] == [(name, dst, BASE + path, *sizes) for name, dst, path, *sizes in PUBLIC]
    assert set(public["layout"]) == {"json"}
    assert len(table) == 11


def test_an_unknown_name_lists_the_choices_nearest_first():
    with pytest.raises(UnknownDatasetError) as caught:
        get_neuron_dataset_metadata_by_short_name_and_dst("gpt2-smal", DerivedScalarType.ATTN_WRITE_NORM)
    error = caught.value
    assert error.choices[0] == "gpt2-small"
    assert len(error.choices) == 8  # each name once, so that one can be pasted back
    assert "'gpt2-smal'" in str(error)
    assert isinstance(error, KeyError)
    assert isinstance(error, UnknownNameError)
    assert isinstance(error, AssertionError)


def test_a_known_name_of_another_type_names_its_types():
    with pytest.raises(UnknownDatasetError, match=r"^gpt2-xl has no attn_write_norm\. Choose one of: mlp_post_act\.$"):
        get_neuron_dataset_metadata_by_short_name_and_dst("gpt2-xl", DerivedScalarType.ATTN_WRITE_NORM)
    with pytest.raises(UnknownDatasetError, match="tiny has no mlp_pre_act") as caught:
        ne.load_neuron("tiny", 1, 0, "mlp_pre_act")
    assert caught.value.choices == ["mlp_post_act", "attn_write_norm"]
    register_neuron_dataset_metadata(NeuronDatasetMetadata("a/b", MLP, "With a slash", "https://host/a"))
    with pytest.raises(UnknownDatasetError, match="a/b has no mlp_pre_act"):
        resolve_neuron_dataset("a/b", "mlp_pre_act")


def test_what_is_not_a_dataset_is_refused_by_its_type():
    for wrong in (None, 5, b"tiny"):
        with pytest.raises(UnsupportedLocationError, match=f"not of type {type(wrong).__name__}"):
            ne.load_neuron(wrong, 2, 5)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedLocationError, match=r"live_record\(model, layer, neuron, texts\)"):
        ne.load_neuron(ne.load_model("tiny", device="cpu"), 2, 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="short_name must be of type str"):
        NeuronDatasetMetadata(5, MLP, "Five", "https://host/five")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="short_name must be of type str"):
        get_neuron_dataset_metadata_by_short_name_and_dst(5, MLP)  # type: ignore[arg-type]


def test_a_missing_neuron_is_said_of_the_name_that_was_given(tmp_path):
    with pytest.raises(NeuronNotFoundError, match=r"^tiny has no layer 9; layers: 0–3\.$"):
        ne.load_neuron("tiny", 9, 5)
    with pytest.raises(NeuronNotFoundError, match=r"^Layer 0 of tiny has no component 99; components: 0–3\.$"):
        ne.load_neuron("tiny", 0, 99, "attn_write_norm")
    (failure,) = ne.load_neurons([(9, 5)], "tiny", progress=False).failures
    assert str(failure.error) == "Could not find mlp_post_act 9:5 in tiny"
    folder = resolve_neuron_dataset("tiny", MLP)
    register_dataset(folder, "own name")
    with pytest.raises(NeuronNotFoundError, match=r"^own name has no layer 9"):
        ne.load_neuron("own name", 9, 5)
    with pytest.raises(NeuronNotFoundError) as caught:
        ne.load_neuron(folder, 9, 5)
    assert str(caught.value).startswith(folder)


def test_an_undefined_autoencoder_is_named():
    with pytest.raises(UnknownDatasetError, match="autoencoder's name was not given"):
        get_neuron_dataset_metadata_by_short_name_and_dst("gpt2-small_undefined", MLP)
    with pytest.raises(UnknownDatasetError) as caught:
        get_neuron_dataset_metadata_by_short_name_and_dst("gpt2-medium", MLP)
    assert "was not given" not in str(caught.value)


def test_the_only_type_of_a_name_need_not_be_given(monkeypatch, tmp_path):
    entry = NeuronDatasetMetadata("mine", "attn_write_norm", "Mine", str(tmp_path))
    monkeypatch.setitem(NEURON_DATASET_METADATA_REGISTRY, entry.key, entry)
    record = neuron_record(1, 5, by_pair=True)
    save_neuron(tmp_path, record)
    assert ne.load_neuron("mine", 1, 5) == record
    assert ne.load_neurons([(1, 5)], "mine", progress=False).records == [record]
    with pytest.raises(UnknownDatasetError, match="Choose one of: attn_write_norm"):
        ne.load_neuron("mine", 1, 5, "mlp_post_act")
    with pytest.raises(UnknownNameError, match="nonsense"):
        ne.load_neuron("mine", 1, 5, "nonsense")


def test_a_model_is_told_what_to_do():
    context = ne.load_model("tiny")
    for model in (context, context.get_or_create_model()):
        with pytest.raises(UnsupportedLocationError, match="use live_record"):
            ne.load_neuron(model, 2, 5)  # type: ignore[arg-type]


def test_names_in_any_case(tmp_path, monkeypatch):
    assert ne.load_neuron("TINY", 1, 2) == ne.load_neuron("tiny", 1, 2)
    assert get_neuron_dataset_metadata_by_short_name_and_dst("GPT2-XL", "mlp_post_act").short_name == "gpt2-xl"
    entry = NeuronDatasetMetadata("TINY", "mlp_post_act", "Mine", str(tmp_path))
    monkeypatch.setitem(NEURON_DATASET_METADATA_REGISTRY, entry.key, entry)  # a name as it is written comes first
    with pytest.raises(NeuronNotFoundError, match="The dataset TINY"):
        ne.load_neuron("TINY", 1, 2)
    assert ne.load_neuron("tiny", 1, 2).most_positive_activation_records


@pytest.mark.parametrize("harm", ["gone", "cut", "pipe"])
def test_a_folder_that_breaks_after_it_was_registered_is_a_row_that_says_so(tmp_path, monkeypatch, harm):
    shutil.copytree(ne.datasets().path.iloc[-2], tmp_path / "mine")
    monkeypatch.setattr(neuron_datasets, "NEURON_DATASET_METADATA_REGISTRY", dict(NEURON_DATASET_METADATA_REGISTRY))
    ne.register_dataset(tmp_path / "mine", "mine")
    assert ne.datasets().layout.iloc[-1] == "packed"
    described = tmp_path / "mine" / "dataset.json"
    if harm == "cut":
        described.write_bytes(described.read_bytes()[:100])
    elif harm == "pipe":
        described.unlink()
        os.mkfifo(described)
    else:
        shutil.rmtree(tmp_path / "mine")
    row = ne.datasets().iloc[-1]
    assert row.layout.startswith("unreadable: ")
    assert (row.short_name, row.n_layers, row.n_components) == ("mine", 4, 512)


@pytest.mark.parametrize("content", [b"{}", b"\xff", b"[" * 100_000, b""])
def test_a_broken_folder_is_a_row_that_says_so(tmp_path, monkeypatch, content):
    (tmp_path / "dataset.json").write_bytes(content)
    entry = NeuronDatasetMetadata("mi\u202ene\x1b", "mlp_post_act", "Mine", str(tmp_path))
    monkeypatch.setitem(NEURON_DATASET_METADATA_REGISTRY, entry.key, entry)
    table = ne.datasets()
    assert len(table) == 12
    row = table.iloc[-1]
    assert row.layout.startswith("unreadable: ")
    assert str(tmp_path) in row.layout
    assert row.short_name == "mi\\u202ene\\x1b"
    assert table.n_layers.notna().sum() == 11


def test_registering_twice():
    mine = NeuronDatasetMetadata("mine", MLP, "Mine", "https://host/mine/")
    register_neuron_dataset_metadata(mine)
    register_neuron_dataset_metadata(dataclasses.replace(mine, neuron_dataset_path="https://host/mine"))
    other = dataclasses.replace(mine, neuron_dataset_path="https://host/other")
    with pytest.raises(InvalidRequestError, match="replace=True") as caught:
        register_neuron_dataset_metadata(other)
    assert "https://host/mine" in str(caught.value)
    assert "https://host/other" in str(caught.value)
    register_neuron_dataset_metadata(other, replace=True)
    assert get_neuron_dataset_metadata_by_short_name_and_dst("mine", MLP) == other
    assert mine.size() == (None, None)


def test_derived_scalar_types_of_entries_by_name():
    metadata = NeuronDatasetMetadata("named", "MLP_Post_Act", "Named", "https://host/named")
    assert metadata.key == ("named", MLP)
    register_neuron_dataset_metadata(metadata)
    assert get_neuron_dataset_metadata_by_short_name_and_dst("named", "mlp_post_act") == metadata
    assert resolve_neuron_dataset("named", "MLP_POST_ACT") == "https://host/named"
    with pytest.raises(UnknownNameError, match="mlp_post_act"):
        NeuronDatasetMetadata("named", "mlp_post", "Named", "https://host/named")


def test_registering_a_folder(tmp_path):
    write_packed_dataset_info(tmp_path, INFO, TOKENS)
    metadata = register_dataset(tmp_path)
    assert metadata.key == ("small", MLP)
    assert metadata.size() == (4, 2)
    assert metadata.layout == "packed"
    assert register_dataset(str(tmp_path) + "/", "own name").short_name == "own name"
    assert ne.datasets()["short_name"].tolist()[-2:] == ["small", "own name"]
    with pytest.raises(MissingFileError, match="not a packed neuron dataset"):
        register_dataset(tmp_path / "nowhere")
    with pytest.raises(InvalidRequestError, match="short_name must be of type str"):
        register_dataset(tmp_path, 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="replace is 'no'"):
        register_dataset(tmp_path, replace="no")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"https://host/x is an address\. .*register_neuron"):
        register_dataset("https://host/x?key=secret")


def test_a_packed_dataset_tells_its_own_size(tmp_path):
    write_packed_dataset_info(tmp_path, INFO, TOKENS)
    assert NeuronDatasetMetadata("own", MLP, "Own", str(tmp_path)).size() == (4, 2)


def test_paths_become_short_names_with_and_without_the_slash():
    for slash in ("", "/"):
        assert convert_dataset_path_to_short_name(BASE + "data/collated-activations" + slash) == "gpt2-xl"
        assert (
            convert_dataset_path_to_short_name(
                BASE + "gpt2_small/attn_write_norm/collated-activations-by-token-pair" + slash
            )
            == "gpt2-small"
        )
    assert convert_dataset_path_to_short_name(Path(resolve_neuron_dataset("tiny", MLP))) == "tiny"
    with pytest.raises(AssertionError, match="https://host/x") as caught:
        convert_dataset_path_to_short_name("https://host/x")
    assert isinstance(caught.value, UnknownDatasetError)


def test_resolving(tmp_path, monkeypatch):
    assert resolve_neuron_dataset("https://host/x", MLP) == "https://host/x"
    assert resolve_neuron_dataset("gpt2-xl", MLP) == BASE + "data/collated-activations/"
    assert resolve_neuron_dataset(tmp_path, MLP) == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2-xl").mkdir()
    assert resolve_neuron_dataset("gpt2-xl", MLP).startswith(BASE)  # a short name goes before a folder
    assert resolve_neuron_dataset("./gpt2-xl", MLP) == "./gpt2-xl"
    nowhere = str(tmp_path / "nowhere")
    for unknown, says in (("gpt2-medium", "neuron dataset"), ("", "neuron dataset"), (nowhere, "Unknown folder")):
        with pytest.raises(UnknownDatasetError, match=says):
            resolve_neuron_dataset(unknown, MLP)
    with pytest.raises(UnsupportedLocationError, match="az:"):
        resolve_neuron_dataset("az://container/x", MLP)


def test_derived_scalar_types_by_name():
    assert derived_scalar_type_of("MLP_POST_ACT") is MLP
    assert derived_scalar_type_of(MLP) is MLP
    with pytest.raises(UnknownNameError) as caught:
        derived_scalar_type_of("mlp_post")
    assert caught.value.choices[0] == "mlp_post_act"
    with pytest.raises(UnknownNameError, match=r"^None is of type NoneType"):
        derived_scalar_type_of(None)  # type: ignore[arg-type]
